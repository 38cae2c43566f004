"""The jobs of a benchmark: train one model with one seed, score it in one setting, each once."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixtura.core import Record, moe_layers, record_routing
from mixtura.training.benchmark.recipe import Entry, Setting
from mixtura.training.checkpoint import read_checkpoint
from mixtura.training.cli import names
from mixtura.training.cli.app import App
from mixtura.training.cli.lightning import MixturaCLI
from mixtura.training.whole_files import write_whole

__all__ = ["Job", "active_parameters", "finished"]

FLAGS = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


class Job:
    """One model, one seed, one setting (or group of settings) below a folder of the benchmark.

    Args:
        app: The app whose configurations are meant.
        entry: The model.
        seed: The seed.
        options: Options of the whole benchmark, such as those of a quick one.
        folder: Of the benchmark.
    """

    def __init__(
        self, app: App, entry: Entry, seed: int, options: Mapping[str, Any], folder: Path
    ) -> None:
        self.app, self.entry, self.seed, self.options = app, entry, seed, options
        self.folder = folder / "jobs" / _safe(entry.name)
        self.config = names.find(entry.config, app.folder("configs"), "configuration", app.program)

    def result(self, setting: Setting) -> dict[str, Any] | None:
        """The figures of a setting that was scored before with the same options."""
        path = self._place(setting) / f"{_safe(setting.name)}.json"
        if not path.is_file():
            return None
        found = json.loads(path.read_text())
        if found.get("key") != self._key(setting):
            return None
        found["config"].pop("ckpt_path", None)  # a place on one machine
        return found

    def run(self, setting: Setting, first: Setting, about: Mapping[str, Any]) -> dict[str, Any]:
        """Train where that was not done yet, going on from a training that was killed; then score.

        Args:
            setting: In which the model is scored.
            first: The first setting of its group, in which a model that serves all is trained.
            about: Command, hardware and commit of this run.
        """
        known = self.result(setting)
        if known is not None:
            return known
        place = self._place(setting)
        trained = (
            self._train(first if self.entry.once else setting, place) if self.entry.trained else {}
        )
        begin = time.perf_counter()
        args = ["test", *self._arguments(setting, place)]
        if trained:
            args.append(f"--ckpt_path={trained['checkpoint']}")
        cli = MixturaCLI(self.app, args, summary=False)
        figures = {
            name.removeprefix("test/"): float(value)
            for name, value in cli.trainer.callback_metrics.items()
            if name.startswith("test/")
        }
        found = {
            "key": self._key(setting),
            "model": self.entry.name,
            "setting": setting.name,
            "seed": self.seed,
            "figures": figures,
            "samples": int(figures.pop("samples")) if "samples" in figures else None,
            "config": cli.config_dump_of_run(),
            "minutes": (trained.get("seconds", 0.0) + time.perf_counter() - begin) / 60,
            **_size(cli),
            **{name: about[name] for name in ("command", "hardware", "commit")},
        }
        text = json.dumps(found, indent=1)
        path = place / f"{_safe(setting.name)}.json"
        write_whole(path, lambda temporary: temporary.write_text(text), beside=False)
        return found

    def _train(self, setting: Setting, place: Path) -> dict[str, Any]:
        done = place / "trained.json"
        key = self._key(setting)
        if done.is_file():
            found = json.loads(done.read_text())
            if found["key"] == key and Path(found["checkpoint"]).is_file():
                return found
        runs = place / key  # what was trained with other options lies elsewhere
        args = ["fit", *self._arguments(setting, runs)]
        started = place / "started.json"
        before = 0.0
        if started.is_file() and json.loads(started.read_text())["key"] == key:
            before = float(json.loads(started.read_text())["seconds"])
            states = [*runs.rglob("last.ckpt"), *runs.rglob("interrupted.ckpt")]
            if states:
                newest = max(states, key=lambda path: path.stat().st_mtime)
                args.append(f"--ckpt_path={newest}")
        begin = time.perf_counter()

        def note(path: Path, **more: Any) -> None:
            seconds = before + time.perf_counter() - begin
            text = json.dumps({"key": key, "seconds": seconds, **more})
            write_whole(path, lambda temporary: temporary.write_text(text), beside=False)

        note(started)
        cli = MixturaCLI(self.app, args, summary=False)
        callback: Any = cli.trainer.checkpoint_callback
        best = _best(runs, callback.mode) or Path(callback.last_model_path)
        note(done, checkpoint=str(best.resolve()))
        return json.loads(done.read_text())

    def _place(self, setting: Setting) -> Path:
        part = setting.group if self.entry.once else setting.name
        return self.folder / _safe(part) / str(self.seed)

    def _arguments(self, setting: Setting, place: Path) -> list[str]:
        options = {
            **setting.options,
            **self.entry.options,
            **self.entry.per_setting.get(setting.name, {}),
            **self.options,
        }
        return [
            f"--config={self.config}",
            *(
                f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
                for key, value in options.items()
            ),
            f"--seed_everything={self.seed}",
            f"--trainer.default_root_dir={place}",
            *FLAGS,
        ]

    def _key(self, setting: Setting) -> str:
        """Changes when anything that the job depends on does."""
        parts = [
            self.config.read_text(),
            setting.options,
            self.entry.options,
            self.entry.per_setting.get(setting.name, {}),
            self.options,
            self.seed,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def finished(
    app: App,
    entries: Sequence[Entry],
    settings: Sequence[Setting],
    options: Mapping[str, Any],
    folder: Path,
) -> list[dict[str, Any]]:
    """The results of all jobs below a folder that were run with today's configurations."""
    found = []
    for entry in entries:
        seeds = {
            int(path.name)
            for path in (folder / "jobs" / _safe(entry.name)).glob("*/*")
            if path.name.isdecimal()
        }
        jobs = [Job(app, entry, seed, options, folder) for seed in sorted(seeds)]
        for setting in settings:
            results = (job.result(setting) for job in jobs)
            found += [result for result in results if result is not None]
    return found


def _best(place: Path, mode: str) -> Path | None:
    """The best checkpoint below a folder; each run of a continued training has left one."""
    scored = []
    for path in place.rglob("best.ckpt"):
        for state in read_checkpoint(path).get("callbacks", {}).values():
            score = state.get("current_score") if isinstance(state, Mapping) else None
            if score is not None:
                scored.append((float(score), path))
    if not scored:
        return None
    return (min if mode == "min" else max)(scored)[1]


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def _size(cli: MixturaCLI) -> dict[str, Any]:
    """Parameters, active parameters and FLOPs per sample, from one test batch."""
    from torch.utils.flop_counter import FlopCounterMode

    module: Any = cli.model
    loaders: Any = cli.trainer.test_dataloaders
    batch = next(iter(loaders[0] if isinstance(loaders, list | tuple) else loaders))
    network: nn.Module = module.network.cpu().eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        if moe_layers(network):
            with record_routing(network) as record:
                module.cpu().evaluate(batch)
        else:
            record = None
            module.cpu().evaluate(batch)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "active_parameters": active_parameters(network, record),
        "flops": counter.get_total_flops() / module.batch_size(batch),
    }


def active_parameters(network: nn.Module, record: Record | None) -> int:
    """Parameters that work on a routing unit, on average over a record."""
    total = float(sum(parameter.numel() for parameter in network.parameters()))
    if record is None:
        return int(total)
    layers = moe_layers(network)
    for name, one in record.statistics().items():
        experts = sum(parameter.numel() for parameter in layers[name].experts.parameters())
        total -= experts * (1 - float(one.mean_active) / layers[name].num_experts)
    return round(total)
