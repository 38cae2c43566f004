"""The Lightning verbs: fit, validate, test, predict."""

import json
import logging
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from jsonargparse import set_parsing_settings
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import callbacks as lightning_callbacks
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.cli import LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from mixtura.core.errors import InputError
from mixtura.training.callbacks import Checkpoint, ProgressBar, RunSummary
from mixtura.training.checkpoint import CONFIG_KEY, read_checkpoint
from mixtura.training.cli.app import App
from mixtura.training.cli.parsing import Parser
from mixtura.training.deferred import without_pictures
from mixtura.training.runs import claim, release
from mixtura.training.trainer import Trainer

__all__ = ["MixturaCLI", "locate", "quiet", "register", "run_lightning"]


def run_lightning(app: App, args: list[str]) -> "MixturaCLI":
    """Parse and run one Lightning verb of an app."""
    quiet()
    register(app)
    try:
        return MixturaCLI(app, args)
    except BaseException:
        release()
        raise


def register(app: App) -> None:
    """Import the modules whose classes an app's configurations may name."""
    with without_pictures():
        for module in app.registry:
            import_module(module)


def locate(path: str) -> Any:
    """The object at `package.module:Name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


class MixturaCLI(LightningCLI):
    """LightningCLI in subclass mode, for one app and one verb.

    Only the parser of the chosen verb is built. A run gets a folder of its own, `runs/NAME/0`,
    `runs/NAME/1`, ..., with its configuration, logs and checkpoints.

    Args:
        app: The app.
        args: The verb and its options.
        summary: Print the table at the end.
    """

    def __init__(self, app: App, args: list[str], *, summary: bool = True) -> None:
        self.app = app
        self.verb = args[0]
        self.args = args
        self.summary = summary
        self.folder: Path | None = None
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True)  # of a verb's own parser
        super().__init__(
            model_class=locate(app.module),
            datamodule_class=locate(app.data),
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=Trainer,
            trainer_defaults={"default_root_dir": "runs"},
            seed_everything_default=0,
            save_config_callback=_SaveConfig,
            save_config_kwargs={"overwrite": True},
            parser_class=Parser,
            parser_kwargs={
                "parser_mode": "omegaconf+",  # resolved after the command line is merged
                "allow_abbrev": False,
                "prog": app.program,
                "description": app.summary,
            },
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )

    def subcommands(self) -> dict[str, set[str]]:
        """The chosen verb alone: building the parsers of the others costs as much each."""
        return {self.verb: LightningCLI.subcommands()[self.verb]}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> Any:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand in ("validate", "test"):
            parser.set_defaults({"verbose": False})  # `RunSummary` prints the table
        return parser

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the given arguments, whatever the process was called with."""
        self.config = parser.parse_args([args[0], *_from_checkpoint(args), *args[1:]])

    def _parse_ckpt_path(self) -> None:
        """Insist that a checkpoint is of the configured model."""
        options = self.config[self.verb]
        path = options.get("ckpt_path")
        if not path or not Path(path).is_file():
            return
        tree = read_checkpoint(Path(path)).get(CONFIG_KEY)
        if not isinstance(tree, dict) or "class_path" not in tree:
            return
        model = options["model"]
        configured = model.as_dict() if hasattr(model, "as_dict") else dict(model)
        name, found = tree["class_path"], configured["class_path"]
        if name.rpartition(".")[2] != found.rpartition(".")[2]:
            raise InputError(
                f"{path} is a checkpoint of {name}, but the configuration says {found}; "
                "use the configuration it was trained with, or leave --model out"
            )
        network = tree["init_args"].get("network")
        other = (configured.get("init_args") or {}).get("network")
        different = _difference(network, other, "network")
        if different:
            raise InputError(
                f"{path} does not fit the configuration: {different}; "
                "use the configuration it was trained with"
            )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Put loggers, checkpoints and progress into the run's folder, unless YAML differs."""
        config = self.config_init[self.verb]["trainer"]
        callbacks = _listed(config.get("callbacks"))
        if config.get("fast_dev_run"):
            return super().instantiate_trainer(callbacks=[*callbacks, *self._progress(callbacks)])
        self.folder = claim(Path(config["default_root_dir"]), self._name(), self.verb)
        kwargs["default_root_dir"] = str(self.folder)
        if config.get("logger") in (None, True):
            kwargs["logger"] = [
                CSVLogger(self.folder, name="", version=""),
                *(
                    [TensorBoardLogger(self.folder, name="", version="")]
                    if self.verb == "fit"
                    else []
                ),
            ]
        saves = config.get("enable_checkpointing") is not False and self.verb == "fit"
        if saves:
            for callback in callbacks:
                if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                    callback.dirpath = str(self.folder / "checkpoints")
            if not any(isinstance(callback, ModelCheckpoint) for callback in callbacks):
                callbacks.append(Checkpoint(self.folder / "checkpoints"))
        kwargs["callbacks"] = [
            *callbacks,
            *self._progress(callbacks),
            *([RunSummary(self.folder, self.app.program)] if self.summary else []),
        ]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ModuleNotFoundError) as error:
            raise InputError(f"the trainer cannot be set up: {error}") from error

    def config_dump_of_run(self) -> dict[str, Any]:
        """The whole configuration of this run as a plain tree."""
        self._dump_config()
        return self.config_dump

    def _progress(self, callbacks: list[Callback]) -> list[Callback]:
        config = self.config_init[self.verb]["trainer"]
        own = any(isinstance(c, lightning_callbacks.ProgressBar) for c in callbacks)
        return [] if own or config.get("enable_progress_bar") is False else [ProgressBar()]

    def _name(self) -> str:
        """The run's name: its first configuration's, that of the checkpoint's run, the class's."""
        for flag, value in zip(self.args, [*self.args[1:], ""], strict=True):
            path = value if flag in ("-c", "--config") else flag.partition("--config=")[2]
            if path:
                folder = self.app.folder("configs")
                path = Path(path).with_suffix("")
                inside = (
                    path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
                )
                return "-".join(inside.parts)
        checkpoint = Path(self.config[self.verb].get("ckpt_path") or "")
        if checkpoint.parent.name == "checkpoints" and len(checkpoint.parts) > 3:
            return checkpoint.parts[-4]  # runs/NAME/0/checkpoints/best.ckpt
        return type(self.model).__name__.lower()


def _from_checkpoint(args: list[str]) -> list[str]:
    """Options for the model and the data of a checkpoint, where nothing else names their class."""
    paths = [arg.partition("=")[2] for arg in args if arg.startswith("--ckpt_path=")]
    if not paths or not Path(paths[-1]).is_file():
        return []
    given = {arg.lstrip("-").partition("=")[0].removesuffix(".class_path") for arg in args}
    for flag, value in zip(args, [*args[1:], ""], strict=True):
        path = value if flag == "-c" else flag.partition("--config=")[2]
        if path:
            given |= set(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    checkpoint = read_checkpoint(Path(paths[-1]))
    trees = {"model": checkpoint.get(CONFIG_KEY), "data": checkpoint.get("mixtura", {}).get("data")}
    return [
        f"--{name}={json.dumps(tree)}" for name, tree in trees.items() if tree and name not in given
    ]


SILENT = (
    ".*does not have many workers.*",
    ".*LeafSpec.*",
    ".*exists and is not empty.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*The dirpath has changed from.*",
    "Precision .* is not supported by the model summary",
    "FSDP2-wrapped module .* returned a view",  # that nobody changes in place
)
TIPS = (
    "💡",
    "litlogger",
    "litmodels",
    "TPU available",
    "Loading `train_dataloader`",
    "`weights_only` was not set",  # checkpoints are read without pickle whatever it says
)


class _SaveConfig(SaveConfigCallback):
    """Writes `config.yaml`, complete and resolved, into the run's folder, whatever the logger."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write it, once and on the first rank."""
        if not self.already_saved and trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / self.config_filename
            self.parser.save(
                self.config, path, skip_none=False, overwrite=self.overwrite, multifile=False
            )
        self.already_saved = True


def _difference(saved: Any, configured: Any, where: str) -> str:
    """The first place where two configuration trees disagree, in words; empty when they agree."""
    if configured is None or saved is None:
        return ""
    if isinstance(saved, dict) and isinstance(configured, dict):
        for key, value in saved.items():
            if key == "class_path":
                names = value.rpartition(".")[2], str(configured.get(key)).rpartition(".")[2]
                if names[0] != names[1]:
                    return f"{where} is {names[0]} in the checkpoint and {names[1]} here"
            elif key in configured:
                inner = where if key == "init_args" else f"{where}.{key}"
                found = _difference(value, configured[key], inner)
                if found:
                    return found
        return ""
    if isinstance(saved, list) and isinstance(configured, list | tuple):
        if len(saved) != len(configured):
            return f"{where} has {len(saved)} entries in the checkpoint and {len(configured)} here"
        pairs = zip(saved, configured, strict=True)
        found = [_difference(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(pairs)]
        return next((each for each in found if each), "")
    return (
        "" if saved == configured else f"{where} is {saved} in the checkpoint and {configured} here"
    )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def quiet() -> None:
    """Leave out what advertises, and what warns of things that are as intended."""

    class NoTips(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return not any(mark in record.getMessage() for mark in TIPS)

    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "pytorch_lightning.trainer.connectors.checkpoint_connector",
        "lightning_fabric.utilities.rank_zero",
    ):
        logging.getLogger(name).addFilter(NoTips())
    for message in SILENT:
        warnings.filterwarnings("ignore", message=message)
