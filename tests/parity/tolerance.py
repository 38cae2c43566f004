"""How far a value may be from the expected one."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """`|actual - expected| <= absolute + relative * |expected|`, element by element."""

    absolute: float = 2e-5
    relative: float = 1e-4

    def __str__(self) -> str:
        if self.absolute == self.relative == 0:
            return "exact"
        parts = [f"{self.absolute:.0e}"] if self.absolute else []
        parts += [f"{self.relative:.0e}*|expected|"] if self.relative else []
        return " + ".join(parts)

    def excess(self, actual: Tensor, expected: Tensor) -> tuple[float, float]:
        """The largest absolute error, and the largest ratio of an error to its allowance."""
        if expected.numel() == 0:
            return 0.0, 0.0
        actual, expected = actual.to(torch.float64), expected.to(torch.float64)
        same = (actual == expected) | (actual.isnan() & expected.isnan())
        error = torch.where(same, torch.zeros_like(expected), (actual - expected).abs())
        allowed = self.absolute + self.relative * expected.abs()
        ratio = torch.where(same, torch.zeros_like(error), error / allowed)
        return float(error.max()), float(ratio.max())


EXACT = Tolerance(0.0, 0.0)
