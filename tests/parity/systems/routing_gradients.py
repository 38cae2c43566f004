"""Gradients under the reference's key names, and the tolerances of this area."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..report import Report
from ..tolerance import Tolerance

OUTPUT = Tolerance(1e-5, 0.0)
GRADIENT = Tolerance(1e-7, 1e-4)


def compare_gradients(report: Report, gradients: Mapping[str, Tensor], x: Tensor | None) -> None:
    """Compare every `grad.*` and `gradnorm.*` of the fixture.

    A whole gradient may be off by 1e-4 of its largest entry: single entries are sums that cancel.
    One that cancels as a whole (that of a router whose only weight is always 1) may be off by what
    float32 resolves of the fixture's largest gradient.

    Args:
        report: where the comparisons go.
        gradients: by the reference's key names.
        x: the input, whose gradient is `grad.x`.
    """
    known = dict(gradients)
    if x is not None and x.grad is not None:
        known["x"] = x.grad
    names = [*report.names("gradnorm."), *report.names("grad.")]
    largest = max(float(report.fixture.get(name).abs().max()) for name in names)
    least = max(GRADIENT.absolute, torch.finfo(torch.float32).eps * largest)
    for name in report.names("gradnorm."):
        tolerance = Tolerance(least, GRADIENT.relative)
        report.compare(name, known[name.removeprefix("gradnorm.")].norm(), tolerance)
    for name in report.names("grad."):
        expected = report.fixture.get(name)
        tolerance = Tolerance(max(1e-4 * float(expected.abs().max()), least), 0.0)
        report.compare(name, known[name.removeprefix("grad.")], tolerance)


def grad(parameter: Tensor) -> Tensor:
    """The gradient, zeros where there is none."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def compare_choices(
    report: Report, index_name: str, weight_name: str, chosen: Tensor, weights: Tensor
) -> None:
    """Compare choices without a fixed order: which experts, and their weights as a matrix.

    Args:
        report: where the comparisons go.
        index_name: expected experts (units, k).
        weight_name: expected weights (units, k).
        chosen: our routing map (units, experts).
        weights: our weights (units, experts).
    """
    index = report.fixture.get(index_name)
    ours = [row.nonzero().squeeze(1) for row in chosen]
    same = all(set(a.tolist()) == set(b.tolist()) for a, b in zip(ours, index, strict=True))
    report.exact(index_name, index if same else torch.full_like(index, -1))
    report.compare(weight_name, weights.gather(-1, index), OUTPUT)
