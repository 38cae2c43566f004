"""The public sets of the long-term forecasting protocol: how each is cut, its step, its season."""

from dataclasses import dataclass

from mixtura.core.errors import InputError
from mixtura.datasets.ltsf.reading import parse_table
from mixtura.datasets.ltsf.series import SeriesTable
from mixtura.datasets.ltsf.splits import FixedSplit, FractionSplit, Split
from mixtura.datasets.registry import dataset
from mixtura.datasets.synthetic import seasonal_series
from mixtura.datasets.verification import read_data

__all__ = ["BENCHMARKS", "Benchmark", "benchmark", "load_series"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What the protocol fixes for one data set."""

    frequency: str
    season: int
    """Period of the seasonal naive forecast, in rows."""
    split: Split


SEVEN_ONE_TWO = FractionSplit(train=0.7, test=0.2)
HOURLY = FixedSplit(train=8640, val=2880, test=2880)
QUARTER_HOURLY = FixedSplit(train=4 * 8640, val=4 * 2880, test=4 * 2880)

BENCHMARKS = {
    "ETTh1": Benchmark(frequency="h", season=24, split=HOURLY),
    "ETTh2": Benchmark(frequency="h", season=24, split=HOURLY),
    "ETTm1": Benchmark(frequency="15min", season=96, split=QUARTER_HOURLY),
    "ETTm2": Benchmark(frequency="15min", season=96, split=QUARTER_HOURLY),
    "weather": Benchmark(frequency="10min", season=144, split=SEVEN_ONE_TWO),
    "exchange_rate": Benchmark(frequency="D", season=5, split=SEVEN_ONE_TWO),
    "national_illness": Benchmark(frequency="W-TUE", season=52, split=SEVEN_ONE_TWO),
    "synthetic-seasonal": Benchmark(frequency="h", season=24, split=SEVEN_ONE_TWO),
}


def benchmark(name: str) -> Benchmark:
    """The protocol of a registered set.

    Raises:
        InputError: for an unknown name or a set that is no forecasting benchmark.
    """
    known = dataset(name).name
    if known not in BENCHMARKS:
        raise InputError(
            f"{known} is no forecasting data set; choose one of {', '.join(BENCHMARKS)}, "
            "or give a file of your own with path=..."
        )
    return BENCHMARKS[known]


def load_series(name: str) -> SeriesTable:
    """The table of a registered set, verified and unchanged: every column but the date, in order.

    Raises:
        InputError: for an unknown name, or a missing or altered file.
    """
    frequency = benchmark(name).frequency
    known = dataset(name).name
    if known == "synthetic-seasonal":
        return seasonal_series()
    frame = parse_table(read_data(known), known)
    return SeriesTable(
        name=known,
        values=frame.drop(columns="date").to_numpy(dtype="float64"),
        channels=tuple(str(name) for name in frame.columns if name != "date"),
        stamps=frame["date"].to_numpy(),
        frequency=frequency,
    )
