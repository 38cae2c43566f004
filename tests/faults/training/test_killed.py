"""A run that is killed at any moment, also during a save, resumes with the very same loss curve."""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mixtura.training.checkpoint import read_checkpoint
from tests.e2e.training.toyapp.main import main
from tests.faults.training.runner import curve, fit, forked, wait


def killed(folder: Path, log: Path, after: int, delay: float, **options: Any) -> int:
    """Start a run, kill it some time behind step `after`, and resume it to its end."""
    last = folder / "checkpoints" / "last.ckpt"
    pid = forked(lambda: fit(folder, log, **options))
    deadline = time.monotonic() + 600
    while not last.exists() or len(log.read_text().splitlines()) < after:
        assert time.monotonic() < deadline, "the run wrote nothing"
        time.sleep(0.0005)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    status = wait(pid)
    assert wait(forked(lambda: fit(folder, log, resume=last, **options))) == 0
    return status


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=pytest.mark.slow)], ids=["three", "twenty"]
)
def test_killed_and_resumed(tmp_path: Path, kills: int) -> None:
    assert wait(forked(lambda: fit(tmp_path / "whole", tmp_path / "whole.log"))) == 0
    whole = curve(tmp_path / "whole.log")
    assert len(whole) == 36
    draw = random.Random(kills)
    statuses = []
    for number in range(kills):
        log = tmp_path / f"{number}.log"
        after, delay = draw.randrange(1, 33), draw.random() * 0.012
        statuses.append(killed(tmp_path / str(number), log, after, delay))
        assert curve(log) == whole, f"kill {number}, after step {after}"
        assert not list((tmp_path / str(number)).rglob("*.incomplete"))
    assert statuses.count(-signal.SIGKILL) >= kills // 2


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch's advice for one core
@pytest.mark.slow
@pytest.mark.parametrize("options", [{"accumulate": 2}, {"num_workers": 2}, {"save_every": 5}])
def test_killed_with_options(tmp_path: Path, options: dict[str, int]) -> None:
    assert wait(forked(lambda: fit(tmp_path / "whole", tmp_path / "whole.log", **options))) == 0
    killed(tmp_path / "cut", tmp_path / "cut.log", 14, 0.0, **options)
    assert curve(tmp_path / "cut.log") == curve(tmp_path / "whole.log")


@pytest.mark.parametrize(
    ("options", "epochs", "saved"),
    [({}, 3, 24), ({"check_val_every_n_epoch": 2}, 4, 36), ({"val_check_interval": 0.5}, 3, 30)],
    ids=["epochs", "rarely", "often"],
)
def test_killed_long_after_the_best(
    tmp_path: Path, options: dict[str, Any], epochs: int, saved: int
) -> None:
    """Without a new best since the first validation, the last state is that of step `saved`."""
    # What is watched is to rise, and falls.
    worse: dict[str, Any] = {"mode": "max", "save_every": 0, "max_epochs": epochs, **options}
    assert wait(forked(lambda: fit(tmp_path / "whole", tmp_path / "whole.log", **worse))) == 0
    log, end = tmp_path / "cut.log", 12 * epochs
    assert killed(tmp_path / "cut", log, end - 3, 0.0, **worse) == -signal.SIGKILL
    assert curve(log) == curve(tmp_path / "whole.log")
    times = Counter(int(line.split()[0]) for line in log.read_text().splitlines())
    again = [step for step in range(1, end + 1) if times[step] > 1]
    assert again
    assert again[0] == saved + 1
    assert read_checkpoint(tmp_path / "cut/checkpoints/best.ckpt")["global_step"] < saved


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_finishes_the_step_and_saves(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    assert wait(forked(lambda: fit(tmp_path / "whole", tmp_path / "whole.log"))) == 0
    log = tmp_path / "cut.log"
    pid = forked(lambda: fit(tmp_path / "cut", log, save_every=1000))
    while not log.exists() or len(log.read_text().splitlines()) < 5:
        time.sleep(0.001)
    begin = time.monotonic()
    os.kill(pid, number)
    assert wait(pid) == status
    assert time.monotonic() - begin < 10
    saved = tmp_path / "cut" / "checkpoints" / "interrupted.ckpt"
    steps = len(log.read_text().splitlines())
    assert wait(forked(lambda: fit(tmp_path / "cut", log, resume=saved))) == 0
    assert curve(log) == curve(tmp_path / "whole.log")
    assert len(log.read_text().splitlines()) == 36, f"stopped after {steps}: a step was repeated"


def test_the_command_line_says_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)
    flags = ["--trainer.max_epochs=100000", "--trainer.enable_progress_bar=false"]

    def work() -> None:
        with Path("said").open("w") as said, contextlib.redirect_stderr(said):
            raise SystemExit(main(["fit", "--config=tiny", *flags]))

    pid = forked(work)
    metrics = tmp_path / "runs/tiny/0/metrics.csv"
    deadline = time.monotonic() + 600
    while not metrics.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    assert wait(pid) == 143
    saved = "runs/tiny/0/checkpoints/interrupted.ckpt"
    assert (tmp_path / saved).is_file()
    said = (tmp_path / "said").read_text()
    assert "stopped by SIGTERM, saved to" in said
    assert "resume by the same command with --ckpt_path" in said
    assert "Traceback" not in said


def test_a_killed_benchmark_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed twice, it ends with the very figures of one that was not, and did no job again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)

    def benchmark(out: str) -> int:
        args = ["benchmark", "toys", "--quick", "--seeds=1", "--settings=few", f"--out={out}"]
        return forked(lambda: main(args))

    assert wait(benchmark("whole")) == 0
    done: dict[Path, int] = {}
    # In the first job's training, and when it is done.
    for begun, count, delay in ((1, 0, 0.1), (1, 1, 0.0)):
        pid = benchmark("cut")
        deadline = time.monotonic() + 600
        while len(jobs := finished(Path("cut"))) < count or len(trainings(Path("cut"))) < begun:
            assert time.monotonic() < deadline, "the benchmark did nothing"
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert wait(pid) == -signal.SIGKILL
        done |= {path: path.stat().st_mtime_ns for path in jobs}
    assert wait(benchmark("cut")) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    whole, cut = (json.loads(Path(out, "results.json").read_text()) for out in ("whole", "cut"))
    assert len(whole["runs"]) == 2
    assert [run["figures"] for run in cut["runs"]] == [run["figures"] for run in whole["runs"]]
    assert all(cut[key] for key in ("hardware", "python", "versions", "command"))


def trainings(folder: Path) -> list[Path]:
    """The trainings that were begun."""
    return list(folder.glob("jobs/*/*/*/started.json"))


def finished(folder: Path) -> list[Path]:
    """The results of the jobs that are done."""
    found = folder.glob("jobs/*/*/*/*.json")
    return [path for path in found if path.stem not in ("started", "trained")]
