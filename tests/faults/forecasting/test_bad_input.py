"""What a user can get wrong: status 2, at most five lines, the bad value and the remedy."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixtura.apps.forecasting.main import main
from mixtura.core import InputError
from mixtura.forecasting import DLinear, Forecaster, SegMoE, SegMoEForecaster

TINY = str(Path(__file__).parents[2] / "e2e" / "forecasting" / "tiny.yaml")
EMBEDDED = Path(__file__).parents[3] / "datasets" / "embedded"


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run `fit` on the tiny configuration with options; the lines that refuse them."""

    def call(*options: str, verb: str = "fit", config: str = TINY) -> str:
        capsys.readouterr()
        args = [verb, "--config", config, *options]
        if not any("default_root_dir" in option for option in options):
            args.append(f"--trainer.default_root_dir={tmp_path / 'runs'}")
        assert main(args) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "Seed set" not in line]
        assert 1 <= len(lines) <= 5, lines
        return "\n".join(lines)

    return call


def test_unknown_configuration(refused) -> None:
    said = refused(config="segmoe/etth1-69")
    assert "segmoe/etth1-69" in said
    assert "segmoe/etth1-96" in said


def test_unknown_model(refused) -> None:
    said = refused("--model.init_args.network=SegMoEE")
    assert "SegMoEE" in said


def test_unknown_option(refused) -> None:
    said = refused("--model.init_args.network.init_args.num_expert=3")
    assert "num_expert" in said
    assert "num_experts" in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--data.init_args.name=ETTh3", ("ETTh3", "ETTh1")),
        ("--data.init_args.horizon=0", ("horizon", "0")),
        ("--data.init_args.look_back=50", ("multiple of patch_width", "50")),
        ("--model.init_args.network.init_args.top_k=5", ("top_k", "num_experts (4)", "5")),
        ("--data.init_args.horizon=8", ("horizon", "at least 16")),
        ("--data.init_args.look_back=9600", ("9600", "rows")),
    ],
)
def test_values_that_cannot_be(refused, option: str, words: tuple[str, ...]) -> None:
    said = refused(option)
    assert all(word in said for word in words), said


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data that comes before all others, with a copy of ETTh1."""
    folder = tmp_path / "data" / "forecasting"
    folder.mkdir(parents=True)
    (source,) = EMBEDDED.rglob("ETTh1.csv.gz")
    shutil.copy(source, folder)
    monkeypatch.setenv("MIXTURA_DATA", str(folder.parent))
    return folder


def test_truncated_data(refused, data_folder: Path) -> None:
    path = data_folder / "ETTh1.csv.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    said = refused()
    assert "ETTh1.csv.gz" in said


def test_altered_data(refused, data_folder: Path) -> None:
    path = data_folder / "ETTh1.csv.gz"
    text = gzip.decompress(path.read_bytes()).replace(b"30.5", b"30.6", 1)
    path.unlink()
    (data_folder / "ETTh1.csv").write_bytes(text)
    said = refused()
    assert "ETTh1.csv" in said
    assert "sha256" in said.lower()


def test_missing_data(refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIXTURA_DATA", str(tmp_path / "nowhere"))
    assert "nowhere" in refused()


def own(path: Path, **columns: object) -> str:
    """A table of one's own, as the options that name it."""
    rows = 400
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2021-01-01", periods=rows, freq="h"),
            "load": np.sin(np.arange(rows) / 4),
        }
    )
    frame.assign(**columns).to_csv(path, index=False)
    return f"--data.init_args.path={path}"


def test_wrong_column(refused, tmp_path: Path) -> None:
    said = refused(own(tmp_path / "own.csv"), "--data.init_args.target=laod")
    assert "laod" in said
    assert "load" in said


def test_empty_cells(refused, tmp_path: Path) -> None:
    values = np.sin(np.arange(400) / 4)
    values[17] = np.nan
    said = refused(own(tmp_path / "own.csv", load=values))
    assert "load" in said
    assert "17" in said


def test_too_short_a_series(refused, tmp_path: Path) -> None:
    option = own(tmp_path / "own.csv")
    said = refused(option, "--data.init_args.look_back=400")
    assert "400" in said


def test_repeated_stamps(refused, tmp_path: Path) -> None:
    stamps = pd.date_range("2021-01-01", periods=400, freq="h").to_list()
    stamps[9] = stamps[8]
    said = refused(own(tmp_path / "own.csv", date=stamps))
    assert "2021-01-01 08:00" in said


def test_irregular_stamps(refused, tmp_path: Path) -> None:
    stamps = pd.date_range("2021-01-01", periods=400, freq="h").to_list()
    stamps[9] = pd.Timestamp("2021-01-01 09:20")
    assert "not regular" in refused(own(tmp_path / "own.csv", date=stamps))


def test_unknown_frequency(refused, tmp_path: Path) -> None:
    said = refused(own(tmp_path / "own.csv"), "--data.init_args.frequency=hourly")
    assert "'hourly' is no known frequency" in said


def test_a_column_without_any_value(refused, tmp_path: Path) -> None:
    said = refused(own(tmp_path / "own.csv", wind=np.nan), "--data.init_args.target=[load,wind]")
    assert "'wind'" in said
    assert "no value at all" in said


def test_covariates_that_the_network_does_not_look_at(refused, tmp_path: Path) -> None:
    said = refused(own(tmp_path / "own.csv", wind=0.5), "--data.init_args.covariates=[wind]",
                   "--data.init_args.target=load")  # fmt: skip
    assert "SegMoE does not look at the covariates of the data" in said
    assert "CovariateNetwork" in said


def test_a_calendar_that_the_network_does_not_look_at(refused) -> None:
    assert "SegMoE does not look at the calendar" in refused("--model.init_args.calendar=true")


def test_constant_series(refused, tmp_path: Path) -> None:
    assert "load" in refused(own(tmp_path / "own.csv", load=1.0))


def test_a_folder_that_cannot_be_written(refused, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    said = refused(f"--trainer.default_root_dir={occupied}")
    assert str(occupied) in said
    assert occupied.read_text() == "not a folder"


def test_demo_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    assert main(["demo", f"--out={occupied}", f"--config={TINY}"]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    options = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    assert main(["fit", "--config", TINY, *options, f"--trainer.default_root_dir={root}"]) == 0
    return root / "tiny" / "0" / "checkpoints" / "last.ckpt"


def test_checkpoint_of_another_model(refused, checkpoint: Path) -> None:
    said = refused(f"--ckpt_path={checkpoint}", verb="test", config="dlinear/etth1-96")
    assert "SegMoE" in said
    assert "DLinear" in said


def test_checkpoint_of_other_sizes(refused, checkpoint: Path) -> None:
    option = "--model.init_args.network.init_args.dim=16"
    said = refused(f"--ckpt_path={checkpoint}", option, verb="test")
    assert "dim" in said


def test_an_unexpected_exception_is_no_input_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(SegMoE, "supervise", broken)
    with pytest.raises(ZeroDivisionError):
        main(["fit", "--config", TINY, f"--trainer.default_root_dir={tmp_path}"])


def forecaster() -> Forecaster:
    return Forecaster(DLinear(24, 8), channels=["load"], frequency="h")


def frame(rows: int = 30, **columns: object) -> pd.DataFrame:
    stamps = pd.date_range("2021-01-01", periods=rows, freq="h")
    return pd.DataFrame({"date": stamps, "load": np.arange(float(rows))}).assign(**columns)


@pytest.mark.parametrize(
    ("table", "horizon", "words"),
    [
        (frame(20), 8, "look-back of 24 points, got 20"),
        (frame(), 9, "horizon of 8, got 9"),
        (frame(), 0, "at least 1, got 0"),
        (frame(load=np.nan), 8, "holds no number at all"),
        (frame(load=[np.nan, *range(29)]), 8, "row 0"),
        (frame(load="many"), 8, "no numbers"),
        (frame().rename(columns={"load": "laod"}), 8, "no column 'load'"),
        (frame().assign(date=pd.date_range("2021", periods=30, freq="D")), 8, "'h'"),
        ([1, 2, 3], 8, "pandas or polars"),
    ],
)
def test_frames_that_cannot_be_forecast(table: object, horizon: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        forecaster().predict(table, horizon)


def test_gaps_may_be_filled() -> None:
    table = frame(load=[np.nan, *range(28), np.nan])
    assert forecaster().predict(table, 4, missing="fill").shape == (4, 1)


def test_loading_another_kind_of_forecaster(tmp_path: Path) -> None:
    forecaster().save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="Forecaster"):
        SegMoEForecaster.from_pretrained(tmp_path / "model")
