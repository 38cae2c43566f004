"""Train PatchTST here and with neuralforecast, in turns, and compare the processor time of a step.

    python apps/forecasting/benchmarks/patchtst_race.py --rounds 5

neuralforecast lives in an environment of its own, which uv makes in `--environment` with the torch
and Lightning of this one where they go together. Each side is a process that trains through its own
trainer and loaders, on its own command: same network, series, windows, optimiser and threads. What
differs is left as it is in each library: neuralforecast samples windows of single variates, here a
batch holds windows of all of them; both batches hold the same number of windows of one variate.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

SIZES = {"context": 512, "horizon": 96, "layers": 3, "dim": 128, "heads": 16, "hidden": 256}
VARIATES, ROWS, DROPOUT, RATE = 7, 4000, 0.2, 1e-4
WARM = 2
PEER = "neuralforecast==3.3.0"


def series() -> Any:
    """Seeded hourly series of seven variates with a daily rhythm: (rows, variates)."""
    import numpy as np

    rng = np.random.default_rng(0)
    clock = np.arange(ROWS)[:, None]
    daily = np.sin(2 * np.pi * (clock / 24 + rng.random(VARIATES)))
    return daily + 0.1 * rng.normal(size=(ROWS, VARIATES)).cumsum(0)


def stopwatch(steps: int) -> tuple[Any, dict[str, float]]:
    """A callback, and the seconds per step that it will write down (trainers may copy it)."""
    import pytorch_lightning as pl

    found: dict[str, float] = {}

    class Stopwatch(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            if trainer.global_step == WARM:
                found.update(cpu=-time.process_time(), wall=-time.perf_counter())
            if trainer.global_step == WARM + steps:
                found["cpu"] = (found["cpu"] + time.process_time()) / steps
                found["wall"] = (found["wall"] + time.perf_counter()) / steps

    return Stopwatch(), found


def quiet(watch: Any, steps: int) -> dict[str, Any]:
    """Arguments of a trainer that does nothing but train."""
    return {
        "max_steps": WARM + steps,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [watch],
    }


def train_here(windows: int, steps: int) -> tuple[dict[str, float], int]:
    """Ours; returns the clocks and the number of parameters."""
    import pandas as pd
    import pytorch_lightning as pl

    from mixtura.datasets import LTSFDataModule
    from mixtura.forecasting import ForecastModule
    from mixtura.forecasting.losses import SquaredError
    from mixtura.forecasting.networks import PatchTST
    from mixtura.training import AdamW

    path = Path("series.csv")
    if not path.exists():
        frame = pd.DataFrame(series(), columns=[f"v{i}" for i in range(VARIATES)])
        frame.insert(0, "date", pd.date_range("2020-01-01", periods=ROWS, freq="h"))
        frame.to_csv(path, index=False)
    network = PatchTST(
        SIZES["context"],
        SIZES["horizon"],
        num_layers=SIZES["layers"],
        dim=SIZES["dim"],
        num_heads=SIZES["heads"],
        hidden_dim=SIZES["hidden"],
        dropout=DROPOUT,
    )
    data = LTSFDataModule(
        path=str(path),
        look_back=SIZES["context"],
        horizon=SIZES["horizon"],
        batch_size=windows // VARIATES,
    )
    watch, seconds = stopwatch(steps)
    module = ForecastModule(
        network, optimizer=AdamW(lr=RATE, weight_decay=0.0), loss=SquaredError()
    )
    trainer = pl.Trainer(**quiet(watch, steps), limit_val_batches=0)
    trainer.fit(module, data)
    return seconds, sum(parameter.numel() for parameter in network.parameters())


def train_peer(windows: int, steps: int) -> tuple[dict[str, float], int]:
    """neuralforecast's; returns the clocks and the number of parameters."""
    import numpy as np
    import pandas as pd
    from neuralforecast import NeuralForecast  # pyright: ignore[reportMissingImports]
    from neuralforecast.losses.pytorch import MSE  # pyright: ignore[reportMissingImports]
    from neuralforecast.models import PatchTST  # pyright: ignore[reportMissingImports]

    values = series()
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"v{i}" for i in range(VARIATES)], ROWS),
            "ds": np.tile(pd.date_range("2020-01-01", periods=ROWS, freq="h"), VARIATES),
            "y": values.T.ravel(),
        }
    )
    watch, seconds = stopwatch(steps)
    model = PatchTST(
        h=SIZES["horizon"],
        input_size=SIZES["context"],
        encoder_layers=SIZES["layers"],
        n_heads=SIZES["heads"],
        hidden_size=SIZES["dim"],
        linear_hidden_size=SIZES["hidden"],
        dropout=DROPOUT,
        fc_dropout=DROPOUT,
        attn_dropout=DROPOUT,
        head_dropout=DROPOUT,
        revin_subtract_last=False,
        res_attention=False,
        loss=MSE(),
        learning_rate=RATE,
        batch_size=VARIATES,
        windows_batch_size=windows,
        val_check_steps=WARM + steps + 1,
        **quiet(watch, steps),
    )
    NeuralForecast([model], freq="h").fit(frame)
    return seconds, sum(parameter.numel() for parameter in model.parameters())


def work(side: str, windows: int, steps: int, threads: int) -> None:
    """One side: train whenever a line comes in, and answer with the figures."""
    import torch

    torch.set_num_threads(threads)
    answers, sys.stdout = sys.stdout, sys.stderr
    train = {"mixtura": train_here, "neuralforecast": train_peer}[side]
    for _ in sys.stdin:
        seconds, parameters = train(windows, steps)
        names = ("torch", "pytorch-lightning", "numpy")
        names += ("mixtura-forecasting",) if side == "mixtura" else ("neuralforecast",)
        versions = {name: version(name) for name in names}
        found = {**seconds, "parameters": parameters, "versions": versions}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def environment(folder: Path) -> Path:
    """The Python of the peer's environment, made where it is not there yet."""
    python = folder / "bin" / "python"
    if not python.exists():
        release = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run(["uv", "venv", "--python", release, str(folder)], check=True)
        torch = f"torch=={version('torch').partition('+')[0]}"
        command = ["uv", "pip", "install", "--python", str(python), PEER]
        if subprocess.run([*command, torch]).returncode:
            subprocess.run(command, check=True)
    return python


def race(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds, the sides in turns."""
    folder = arguments.environment
    pythons = {"neuralforecast": environment(folder), "mixtura": Path(sys.executable)}
    settings = [arguments.windows, arguments.steps, arguments.threads]
    workers, rows = {}, []
    for side, python in pythons.items():
        command = [str(python), str(Path(__file__).resolve()), "--worker", side]
        command += ["--windows", str(settings[0]), "--steps", str(settings[1])]
        command += ["--threads", str(settings[2])]
        workers[side] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(arguments.threads),
                "PYTHONWARNINGS": "ignore",
            },
            stderr=(folder / f"{side}.log").open("w"),
        )
    for number in range(arguments.rounds):
        for side, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                raise SystemExit(f"{side} has stopped; its last words are in {folder / side}.log")
            rows.append({"round": number, "side": side, **json.loads(line)})
    for worker in workers.values():
        worker.communicate()
    return rows


def main() -> None:
    """Race, print, and write the figures down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of a round")
    parser.add_argument("--windows", type=int, default=112, help="windows of one variate per step")
    parser.add_argument("--threads", type=int, default=1)
    home = Path.home() / ".cache" / "mixtura" / PEER.replace("==", "-")
    parser.add_argument("--environment", type=Path, default=home, help="made if it is not there")
    parser.add_argument("--json_file", type=Path, default=None)
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.windows, arguments.steps, arguments.threads)
        return
    rows = race(arguments)
    job = f"PatchTST, training step of {arguments.windows} windows of one variate"
    cpu = {s: [r["cpu"] for r in rows if r["side"] == s] for s in ("neuralforecast", "mixtura")}
    racers = []
    for side, figures in cpu.items():
        ratio = statistics.median(
            mine / theirs for mine, theirs in zip(figures, cpu["neuralforecast"], strict=True)
        )
        mine = [row for row in rows if row["side"] == side]
        racers.append(
            {
                "job": job,
                "name": side,
                "cpu": statistics.median(figures),
                "wall": statistics.median(row["wall"] for row in mine),
                "ratio": ratio,
                "rounds": arguments.rounds,
                "parameters": mine[0]["parameters"],
                "versions": mine[0]["versions"],
            }
        )
        print(f"{side:16s} {1e3 * racers[-1]['cpu']:8.1f} ms CPU per step  {ratio:.2f}")
    if arguments.json_file:
        found = {
            "command": "python apps/forecasting/benchmarks/patchtst_race.py "
            f"--rounds {arguments.rounds} --steps {arguments.steps} "
            f"--windows {arguments.windows} --threads {arguments.threads}",
            "sizes": SIZES,
            "racers": racers,
        }
        arguments.json_file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
