"""MASE and weighted quantile loss over rolling windows, against arithmetic by hand."""

import numpy as np
import pytest

from mixtura.core import InputError
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import Forecaster, LastValue, SeasonalNaive
from mixtura.forecasting.rolling_scores import rolling_scores

HORIZON = 720


@pytest.mark.filterwarnings("ignore::DeprecationWarning:gluonts")
@pytest.mark.filterwarnings("ignore:isinstance.obj, DateOffset. is deprecated")
def test_last_value_by_hand() -> None:
    data = LTSFDataModule("ETTh1", look_back=24, horizon=HORIZON)
    found = rolling_scores(Forecaster(LastValue()), data, HORIZON, max_windows=50)
    values, end = data.table.values, data.borders.test.stop
    assert (found.windows, found.season) == (4, 24)
    ratios = []
    for number in range(4):
        now = end - (4 - number) * HORIZON
        error = np.abs(values[now : now + HORIZON] - values[now - 1])
        usual = np.abs(values[24:now] - values[: now - 24]).mean(0)
        ratios.append((error / usual).mean())
    assert found.mase == pytest.approx(np.mean(ratios), rel=1e-4)
    assert 0 < found.wql < 2


def test_too_few_test_rows() -> None:
    data = LTSFDataModule("ETTh1", look_back=24, horizon=HORIZON)
    with pytest.raises(InputError, match="too few for a horizon of 5000"):
        rolling_scores(Forecaster(SeasonalNaive(period=24)), data, 5000)
