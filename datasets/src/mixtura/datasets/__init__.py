"""Data sets by name: licence, checksum, origin; readers, windows, generators and Lightning modules.

Names are loaded when they are first used: `import mixtura.datasets` and `mixtura-data` need neither
numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mixtura.core.extras import brought_by

if TYPE_CHECKING:
    from mixtura.datasets.downloading import download
    from mixtura.datasets.errors import (
        AlteredFile,
        DownloadFailed,
        InputError,
        MissingFile,
        UnknownDataset,
    )
    from mixtura.datasets.frequency import (
        future_stamps,
        infer_frequency,
        normal_frequency,
        seasonal_period,
    )
    from mixtura.datasets.loading.batch import WindowBatch
    from mixtura.datasets.loading.datamodule import LTSFDataModule
    from mixtura.datasets.loading.loader import EvaluationLoader, TrainingLoader
    from mixtura.datasets.loading.metric import WindowErrors
    from mixtura.datasets.loading.sequences import (
        SequenceBatch,
        SequenceDataModule,
        SequenceSource,
    )
    from mixtura.datasets.loading.source import WindowSource
    from mixtura.datasets.ltsf.benchmarks import Benchmark, benchmark, load_series
    from mixtura.datasets.ltsf.calendar import calendar_features, calendar_names
    from mixtura.datasets.ltsf.filling import clean_sentinels, fill_from_past, without_gaps
    from mixtura.datasets.ltsf.future import with_future
    from mixtura.datasets.ltsf.naive import last_value, lookback_mean, seasonal_naive
    from mixtura.datasets.ltsf.report import protocol_report
    from mixtura.datasets.ltsf.scaler import StandardScaler
    from mixtura.datasets.ltsf.scores import ForecastScores, Scores
    from mixtura.datasets.ltsf.series import SeriesTable
    from mixtura.datasets.ltsf.splits import Borders, FixedSplit, FractionSplit, Rows, Split
    from mixtura.datasets.ltsf.windows import sliding_windows, window_count
    from mixtura.datasets.own_items import read_own_items
    from mixtura.datasets.own_table import read_own_table
    from mixtura.datasets.places import cache_folder, locate, search_places
    from mixtura.datasets.pretraining.binary import BinarySequences, write_binary_folder
    from mixtura.datasets.pretraining.folder import open_sequences
    from mixtura.datasets.pretraining.normalisation import (
        MaxNormalisation,
        NoNormalisation,
        ZeroNormalisation,
    )
    from mixtura.datasets.pretraining.reader import JoinedSequences, MemorySequences
    from mixtura.datasets.pretraining.windows import (
        PackedWindows,
        SequenceWindow,
        SequenceWindows,
    )
    from mixtura.datasets.records import Archive, DataFile, Dataset, Form
    from mixtura.datasets.registry import dataset, dataset_names
    from mixtura.datasets.synthetic import seasonal_series
    from mixtura.datasets.verification import check_file, data_path, read_data

HOMES = {
    "downloading": ("download",),
    "errors": (
        "AlteredFile",
        "DownloadFailed",
        "InputError",
        "MissingFile",
        "UnknownDataset",
    ),
    "frequency": (
        "future_stamps",
        "infer_frequency",
        "normal_frequency",
        "seasonal_period",
    ),
    "loading.batch": ("WindowBatch",),
    "loading.datamodule": ("LTSFDataModule",),
    "loading.loader": ("EvaluationLoader", "TrainingLoader"),
    "loading.metric": ("WindowErrors",),
    "loading.sequences": ("SequenceBatch", "SequenceDataModule", "SequenceSource"),
    "loading.source": ("WindowSource",),
    "ltsf.benchmarks": (
        "Benchmark",
        "benchmark",
        "load_series",
    ),
    "ltsf.calendar": (
        "calendar_features",
        "calendar_names",
    ),
    "ltsf.filling": ("clean_sentinels", "fill_from_past", "without_gaps"),
    "ltsf.future": ("with_future",),
    "ltsf.naive": (
        "last_value",
        "lookback_mean",
        "seasonal_naive",
    ),
    "ltsf.report": ("protocol_report",),
    "ltsf.scaler": ("StandardScaler",),
    "ltsf.scores": (
        "ForecastScores",
        "Scores",
    ),
    "ltsf.series": ("SeriesTable",),
    "ltsf.splits": (
        "Borders",
        "FixedSplit",
        "FractionSplit",
        "Rows",
        "Split",
    ),
    "ltsf.windows": (
        "sliding_windows",
        "window_count",
    ),
    "own_items": ("read_own_items",),
    "own_table": ("read_own_table",),
    "places": (
        "cache_folder",
        "locate",
        "search_places",
    ),
    "pretraining.binary": ("BinarySequences", "write_binary_folder"),
    "pretraining.folder": ("open_sequences",),
    "pretraining.normalisation": ("MaxNormalisation", "NoNormalisation", "ZeroNormalisation"),
    "pretraining.reader": ("JoinedSequences", "MemorySequences"),
    "pretraining.windows": ("PackedWindows", "SequenceWindow", "SequenceWindows"),
    "records": (
        "Archive",
        "DataFile",
        "Dataset",
        "Form",
    ),
    "registry": (
        "dataset",
        "dataset_names",
    ),
    "synthetic": ("seasonal_series",),
    "verification": (
        "check_file",
        "data_path",
        "read_data",
    ),
}
"""File of this package -> the public names that it holds."""

HOME_OF = {name: home for home, names in HOMES.items() for name in names}

__all__ = [
    "AlteredFile",
    "Archive",
    "Benchmark",
    "BinarySequences",
    "Borders",
    "DataFile",
    "Dataset",
    "DownloadFailed",
    "EvaluationLoader",
    "FixedSplit",
    "ForecastScores",
    "Form",
    "FractionSplit",
    "InputError",
    "JoinedSequences",
    "LTSFDataModule",
    "MaxNormalisation",
    "MemorySequences",
    "MissingFile",
    "NoNormalisation",
    "PackedWindows",
    "Rows",
    "Scores",
    "SequenceBatch",
    "SequenceDataModule",
    "SequenceSource",
    "SequenceWindow",
    "SequenceWindows",
    "SeriesTable",
    "Split",
    "StandardScaler",
    "TrainingLoader",
    "UnknownDataset",
    "WindowBatch",
    "WindowErrors",
    "WindowSource",
    "ZeroNormalisation",
    "benchmark",
    "cache_folder",
    "calendar_features",
    "calendar_names",
    "check_file",
    "clean_sentinels",
    "data_path",
    "dataset",
    "dataset_names",
    "download",
    "fill_from_past",
    "future_stamps",
    "infer_frequency",
    "last_value",
    "load_series",
    "locate",
    "lookback_mean",
    "normal_frequency",
    "open_sequences",
    "protocol_report",
    "read_data",
    "read_own_items",
    "read_own_table",
    "search_places",
    "seasonal_naive",
    "seasonal_period",
    "seasonal_series",
    "sliding_windows",
    "window_count",
    "with_future",
    "without_gaps",
    "write_binary_folder",
]


def __getattr__(name: str) -> Any:
    if name not in HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with brought_by("mixtura-datasets[torch]", name):
        value = getattr(import_module(f"{__name__}.{HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
