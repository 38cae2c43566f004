"""An exported forecaster works where nothing that only training needs is installed."""

from pathlib import Path

import numpy as np
import pandas as pd

from mixtura.apps.forecasting.main import main
from mixtura.forecasting import ForecastModule
from mixtura.training.sharing.export import data_of
from tests.unit.house.inference import TRAINING, absent_without, run_with_only

TINY = Path(__file__).with_name("tiny.yaml")

PREDICT = """
import pandas as pd
from mixtura.forecasting import Forecaster

folder, table, to = sys.argv[1:]
forecaster = Forecaster.from_pretrained(folder)
frame = pd.read_csv(table)
forecaster.predict(frame, horizon=30).to_csv(to)
calibrated = forecaster.calibrated(frame, horizon=24)
calibrated.save_pretrained(folder + "-calibrated")
again = Forecaster.from_pretrained(folder + "-calibrated")
print(*again.predict(frame, horizon=24, quantiles=[0.5]).columns)
try:
    from mixtura.forecasting import ForecastModule
except ModuleNotFoundError as error:
    print(error)
"""


def test_nothing_of_training_is_required() -> None:
    assert absent_without("mixtura-forecasting") >= TRAINING
    assert not absent_without("mixtura-forecasting[train]") & (TRAINING - {"sklearn"})


def test_an_exported_forecaster_needs_no_training_code(tmp_path: Path) -> None:
    assert main(["fit", f"--config={TINY}", f"--trainer.default_root_dir={tmp_path}"]) == 0
    path = tmp_path / "tiny" / "0" / "checkpoints" / "best.ckpt"
    folder = tmp_path / "model"
    assert main(["export", f"--ckpt_path={path}", f"--to={folder}", "--measure=false"]) == 0

    module = ForecastModule.load_from_checkpoint(path)
    index = pd.date_range("2020-01-01", periods=200, freq="h")
    values = np.random.default_rng(0).normal(size=(200, 7)).cumsum(0)
    forecaster = module.shared(data_of(path)).eval()
    frame = pd.DataFrame(values, index, forecaster.channels)
    frame.to_csv(tmp_path / "frame.csv", index_label="date")
    said = run_with_only(
        "mixtura-forecasting", PREDICT, folder, tmp_path / "frame.csv", tmp_path / "future.csv"
    )
    assert "OT_q0.5" in said
    assert "ForecastModule needs" in said
    assert "pip install 'mixtura-forecasting[train]'" in said
    future = pd.read_csv(tmp_path / "future.csv")
    expected = forecaster.predict(frame, horizon=30)
    assert future[expected.columns].to_numpy().tolist() == expected.to_numpy().tolist()
    assert forecaster.scale is not None
