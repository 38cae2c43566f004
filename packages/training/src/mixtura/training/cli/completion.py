"""Shell completion by hand: verbs, packaged names, options, classes, and files.

The generated completion of the argument parser lists every known subclass of every annotated type
(hundreds of megabytes); this one is a few kilobytes, and writing it needs neither torch nor
Lightning.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

import mixtura
from mixtura.training.cli import names
from mixtura.training.cli.app import LIGHTNING, App
from mixtura.training.cli.shells import (
    BASH,
    FILES,
    FISH,
    FISH_LINE,
    FISH_VERB,
    OFFERS,
    ZSH,
)

__all__ = ["SHELLS", "options", "script"]

TEMPLATES = {"bash": BASH, "zsh": ZSH, "fish": FISH}
SHELLS = tuple(TEMPLATES)
TRAINER = (
    "accelerator",
    "accumulate_grad_batches",
    "callbacks",
    "check_val_every_n_epoch",
    "default_root_dir",
    "detect_anomaly",
    "deterministic",
    "devices",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_predict_batches",
    "limit_test_batches",
    "limit_train_batches",
    "limit_val_batches",
    "log_every_n_steps",
    "logger",
    "max_epochs",
    "max_steps",
    "max_time",
    "min_epochs",
    "min_steps",
    "num_nodes",
    "num_sanity_val_steps",
    "overfit_batches",
    "plugins",
    "precision",
    "profiler",
    "strategy",
    "sync_batchnorm",
    "val_check_interval",
)
FLAGS = (
    "--config",
    "--ckpt_path",
    "--print_config",
    "--seed_everything",
    "--model",
    "--data",
    "--trainer",
    *(f"--trainer.{name}" for name in TRAINER),
)
CONFIGS = "--config|-c|show"
FREE = (CONFIGS, "benchmark")
"""Behind these a file may be named too."""
EVERYWHERE = ("--help", "--traceback")
OPTIMISATION = {
    "--model.init_args.optimizer": ("AdamW", "SGD", "TorchOptimizer"),
    "--model.init_args.schedule": ("Constant", "ExponentialByEpoch", "WarmupCosine"),
}


def script(app: App, shell: str) -> str:
    """The completion script of `app` for a shell of `SHELLS`."""
    classes = {**OPTIMISATION, **app.classes}
    values = {
        CONFIGS: tuple(names.available(app.folder("configs"))),
        "benchmark": tuple(names.available(app.folder("recipes"))),
        "completion": SHELLS,
        "configs": ("show",),
        **classes,
    }
    flags = _flags(app, (*FLAGS, *classes))
    return TEMPLATES[shell].format(
        program=app.program,
        function=app.program.replace("-", "_"),
        verbs=" ".join((*app.summaries(), "configs", "completion")),
        **(_fish(app, flags, values) if shell == "fish" else _cases(shell, flags, values)),
    )


def _flags(app: App, lightning: Sequence[str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The options of each verb, those of Lightning's verbs once for all of them."""
    own = {
        (verb,): options(spec.function)[bool(spec.names) :]  # a packaged name needs no flag
        for verb, spec in app.functions().items()
        if verb not in LIGHTNING
    }
    listed = {tuple(LIGHTNING): tuple(dict.fromkeys(lightning)), **own}
    return {verbs: (*each, *EVERYWHERE) for verbs, each in listed.items()}


Flags = Mapping[tuple[str, ...], tuple[str, ...]]
Values = Mapping[str, tuple[str, ...]]


def _cases(shell: str, flags: Flags, values: Values) -> dict[str, str]:
    """The branches of the `case` statements of bash and zsh."""
    offer = OFFERS[shell]
    by_word = [
        offer.format(pattern=word, words=" ".join(listed), files=FILES[shell] * (word in FREE))
        for word, listed in values.items()
    ]
    by_verb = [
        f'    {"|".join(verbs)}) flags="{" ".join(listed)}" ;;' for verbs, listed in flags.items()
    ]
    return {"values": "\n".join(by_word), "flags": "\n".join(by_verb)}


def _fish(app: App, flags: Flags, values: Values) -> dict[str, str]:
    """The lines of fish: one for each option."""
    lines = []

    def line(verbs: Sequence[str], what: str) -> None:
        lines.append(FISH_LINE.format(program=app.program, verbs=" ".join(verbs), what=what))

    for verb, summary in app.summaries().items():
        summary = summary.replace("'", "\\'")
        lines.append(FISH_VERB.format(program=app.program, verb=verb, summary=summary))
    for verbs, listed in flags.items():
        for flag in listed:
            given = values.get(CONFIGS if flag == "--config" else flag)
            takes = f" -x -a '{' '.join(given)}'" if given else ""
            line(verbs, f"-l {flag[2:]}{takes}")
    for verb in ("benchmark", "completion", "configs"):
        line((verb,), f"-a '{' '.join(values[verb])}'")
    return {"lines": "\n".join(lines)}


def options(function: str) -> tuple[str, ...]:
    """The options of a function verb, read from its source: importing it may take seconds.

    Args:
        function: Where it is, as `package.module:function`; none are known outside of `mixtura`.
    """
    module, _, name = function.partition(":")
    source = _source(module)
    for node in ast.parse(source.read_text(encoding="utf-8")).body if source else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            listed = [*node.args.args, *node.args.kwonlyargs]
            return tuple(f"--{each.arg}" for each in listed if each.arg != "app")
        if isinstance(node, ast.ImportFrom) and name in (alias.name for alias in node.names):
            return options(f"{node.module}:{name}")
    return ()


def _source(module: str) -> Path | None:
    """The file of a module of Mixtura, found without importing its package."""
    top, *parts = module.split(".")
    places = [Path(root, *parts) for root in mixtura.__path__ if top == "mixtura"]
    files = [path for each in places for path in (each.with_suffix(".py"), each / "__init__.py")]
    return next((path for path in files if path.is_file()), None)
