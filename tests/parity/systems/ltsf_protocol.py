"""The long-term forecasting protocol: borders, counts, scaler and naive scores of real files."""

import os

from mixtura.datasets import protocol_report

from ..fixture import Fixture, flatten
from ..locate import data_folder
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

FLOAT64 = Tolerance(absolute=1e-12, relative=1e-6)


@system("ltsf-protocol")
def check(fixture: Fixture, report: Report) -> None:
    """Every setting of every data set in the fixture, in float64."""
    if folder := data_folder():
        os.environ.setdefault("MIXTURA_DATA", str(folder))
    for dataset, case in settings(fixture):
        prefix = f"{dataset}.cases.{case}"
        look_back, horizon = fixture.get(f"{prefix}.L"), fixture.get(f"{prefix}.H")
        whole = protocol_report(dataset, look_back, horizon)
        measured = flatten(whole.pop("cases")[0], prefix)
        if case == 0:
            measured |= flatten(whole, dataset)
        for name, value in measured.items():
            report.compare(name, value, FLOAT64)


def settings(fixture: Fixture) -> list[tuple[str, int]]:
    """Data set and number of each case, in order of the file."""
    names = [name.split(".cases.") for name in fixture.expected if name.endswith(".L")]
    return [(dataset, int(rest.removesuffix(".L"))) for dataset, rest in names]
