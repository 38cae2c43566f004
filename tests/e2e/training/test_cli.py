"""The Lightning verbs in process: composition, mistakes, checkpoints, folders."""

import logging
import signal
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from mixtura.training.cli.completion import FLAGS
from tests.e2e.training.toyapp.main import main


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)


def run(*args: str) -> int:
    return main(["--trainer.enable_progress_bar=false" if a == "@" else a for a in args])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a finished `fit`."""
    root = tmp_path_factory.mktemp("trained")
    assert run("fit", "--config", "tiny", "@", f"--trainer.default_root_dir={root}") == 0
    return root / "tiny" / "0" / "checkpoints" / "best.ckpt"


def test_fit_leaves_everything(trained: Path) -> None:
    folder = trained.parents[1]
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.csv", "checkpoints"} <= names
    assert any(name.startswith("events.out") for name in names)
    files = {path.name for path in trained.parent.iterdir()}
    assert files == {"best.ckpt", "best.ckpt.sha256", "last.ckpt", "last.ckpt.sha256"}
    text = (folder / "config.yaml").read_text()
    assert "${" not in text
    assert yaml.safe_load(text)["model"]["init_args"]["network"]["init_args"]["dim"] == 8
    header = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/loss", "aux/load_balance/moe"} <= set(header)
    torch.load(trained, weights_only=True)


def test_composition_interpolation_and_print_config(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(
        "fit",
        "--config=tiny",
        "-c",
        "more-experts",
        "--data.init_args.dim=6",
        "--model.init_args.optimizer=SGD",
        "--model.init_args.optimizer.init_args.momentum=0.5",
        "--print_config",
    )
    assert status == 0
    tree = yaml.safe_load(capsys.readouterr().out)
    network = tree["model"]["init_args"]["network"]["init_args"]
    assert network["num_experts"] == 8
    assert network["top_k"] == 2
    assert tree["model"]["init_args"]["optimizer"]["class_path"].endswith("SGD")
    assert tree["data"]["init_args"]["dim"] == 6


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--trainer.max_epoch", "3"], "did you mean trainer.max_epochs"),
        (["--trainr.max_epochs", "3"], "did you mean trainer.max_epochs"),
        (["--trainer.max_epochs", "x"], "trainer.max_epochs: expected an int; got x"),
        (["--model.init_args.network.init_args.num_expert=3"], "did you mean num_experts"),
        (["--model.init_args.network.init_args.num_experts=eight"], "num_experts: expected an int"),
        (["--model.init_args.network.init_args.top_k=30"], "top_k must be at most num_experts (4)"),
        (["--model.init_args.optimizer=AdamWx"], "did you mean AdamW"),
        (
            ["--model.init_args.optimizer=SGD", "--model.init_args.optimizer.init_args.momentu=1"],
            "did you mean momentum",
        ),
        (["--data.init_args.batch_sise=3"], "did you mean batch_size"),
        (["--model", "ToyClasifier"], "did you mean ToyClassifier"),
        (["stray"], "options begin with --"),
        (["--trainer.accelerator=cuda"], "CUDAAccelerator"),
        (["--data.init_args.num_samples=0"], "has no batch"),
        (["--data.init_args.nan_at=3"], "is nan (epoch 0, step"),
        (["--trainer.default_root_dir=/proc/none"], "choose another folder"),
    ],
)
def test_mistakes_are_sentences(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "accelerator" in args[0] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run("fit", "--config=tiny", "@", *args) == 2
    said = capsys.readouterr().err.strip()
    lines = said[said.rindex("mixtura-toy: error") :].splitlines()
    assert words in lines[0] + lines[-1]
    assert len(lines) <= 5


def test_a_refused_run_takes_no_number(tmp_path: Path) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert run("fit", "--config=tiny", "@", root, "--trainer.accelerator=tpu") == 2
    assert not (tmp_path / "tiny" / "0").exists()


def test_options_that_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--ckpt_path=last") == 2
    assert "error: --to must be given" in capsys.readouterr().err


def test_ctrl_c_before_there_is_a_step_to_finish(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.e2e.training.toyapp.model import ToyData

    def interrupted(self: ToyData, stage: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ToyData, "setup", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert run("fit", "--config=tiny", "@") == 130
    signal.signal(signal.SIGINT, before)
    assert "mixtura-toy: interrupted" in capsys.readouterr().err


def test_wrong_keys_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("model: {init_args: {network: {init_args: {num_expert: 8}}}}")
    assert run("fit", "--config=tiny", f"--config={path}") == 2
    said = capsys.readouterr().err
    assert "model.init_args.network.init_args.num_expert" in said
    assert "did you mean num_experts" in said


def test_traceback_and_errors_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixtura.core.errors import InputError
    from tests.e2e.training.toyapp.model import ToyData

    with pytest.raises(InputError, match="no batch"):
        run("fit", "--config=tiny", "@", "--data.init_args.num_samples=0", "--traceback")

    def broken(self: ToyData, stage: str) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(ToyData, "setup", broken)
    with pytest.raises(ValueError, match="a bug"):
        run("fit", "--config=tiny", "@")


def test_checkpoint_alone_is_enough(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", f"--ckpt_path={trained}", "@") == 0
    out = capsys.readouterr().out
    assert "test/accuracy" in out
    assert "tiny/test-0" in out
    assert "test: " in out
    assert run("validate", f"--ckpt_path={trained}", "@") == 0
    assert run("predict", f"--ckpt_path={trained}", "@") == 0
    # Single values are changed in what it holds.
    few = ("--data.num_samples=32", "--data.init_args.batch_size=2")
    assert run("test", f"--ckpt_path={trained}", *few, "@") == 0
    config = yaml.safe_load(Path("runs/tiny/test-1/config.yaml").read_text())
    assert config["data"]["init_args"]["num_samples"] == 32
    assert config["data"]["init_args"]["batch_size"] == 2


def test_checkpoint_of_other_sizes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("test", "--config=tiny", "--config=more-experts", f"--ckpt_path={trained}", "@")
    assert status == 2
    said = capsys.readouterr().err
    assert "network.num_experts is 4 in the checkpoint and 8 here" in said


def test_resume_in_a_new_folder(trained: Path, tmp_path: Path) -> None:
    last = trained.with_name("last.ckpt")
    before = last.read_bytes()
    status = run("fit", "--config=tiny", "@", "--trainer.max_epochs=3", f"--ckpt_path={last}")
    assert status == 0
    assert last.read_bytes() == before
    metrics = (tmp_path / "runs/tiny/0/metrics.csv").read_text()
    assert metrics.count("\n") > 2


def test_a_run_that_ends_before_a_validation(tmp_path: Path) -> None:
    """It has no best state, only the last, and says no more about that."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert run("fit", "--config=tiny", "@", "--trainer.max_steps=1") == 0
    assert not [each for each in said if "monitor" in str(each.message)]
    names = {path.name for path in (tmp_path / "runs/tiny/0/checkpoints").iterdir()}
    assert names == {"last.ckpt", "last.ckpt.sha256"}


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    for _ in range(2):
        assert run("fit", "--config=tiny", "@", "--trainer.max_epochs=1") == 0
    assert {path.name for path in (tmp_path / "runs/tiny").iterdir()} == {"0", "1"}


def test_advertising_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert run("fit", "--config=tiny", "@", "--trainer.fast_dev_run=1") == 0
    assert "litlogger" not in caplog.text
    assert "💡" not in caplog.text


def test_fit_help_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "--help") == 0
    text = capsys.readouterr().out
    for words in FLAGS:
        assert words in text, words
    assert run("export", "--help") == 0
    assert "--repo" in capsys.readouterr().out
