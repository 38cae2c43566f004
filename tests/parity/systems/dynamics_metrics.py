"""Metrics of reconstructed dynamics on stored slices of chaotic systems."""

import json

import numpy as np
import torch
from torch import Tensor

from mixtura.dynamics.metrics import (
    absolute_error_at,
    mase,
    power_spectrum_distance,
    state_space_divergence,
)

from ..fixture import Fixture
from ..locate import data_folder
from ..options import UnknownOption
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

METRICS = {
    "d_stsp": state_space_divergence,
    "d_h": power_spectrum_distance,
    "mase": mase,
    "pe": absolute_error_at,
}
VALUES = Tolerance(1e-7, 1e-4)


@system("dsr-metrics")
def check_metrics(fixture: Fixture, report: Report) -> None:
    """Every metric of every case."""
    stored = json.loads((fixture.folder / "expected.json").read_text())
    folder = data_folder()
    if folder is None:
        report.fail("data", "set MIXTURA_DATA to the folder that holds dynamics/chaotic3d")
        return
    for number, case in enumerate(stored["cases"]):
        path = folder / "dynamics" / stored["data"].split(",")[0].format(system=case["system"])
        states = torch.from_numpy(np.load(path)["X"])
        true = states[slice(*case["true"]["rows"])]
        generated = generate(case["generated"], states, true)
        for name in case["metrics"]:
            kind, _, argument = name.rpartition("_")
            if kind not in METRICS:
                raise UnknownOption(f"{name!r} is no metric of {', '.join(METRICS)}")
            value = METRICS[kind](generated, true, int(argument))
            report.compare(f"cases.{number}.metrics.{name}", value, VALUES)
    described = [n for n in fixture.expected if ".metrics." not in n]
    fixture.ignore(described)


def generate(how: dict, states: Tensor, true: Tensor) -> Tensor:
    """The generated series that a case describes."""
    if "rows" in how:
        return states[slice(*how["rows"])] * how.get("scale", 1.0)
    length = how["length"]
    ramp = 1e-3 * torch.arange(length) / length
    return true.mean(0) + ramp[:, None]
