"""How far a value may be from the expected one."""

from collections.abc import Callable
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

ROUNDING = 1e-7
"""Relative noise of the size of float32's rounding."""


def rounded(x: Tensor, seed: int = 0) -> Tensor:
    """`x` as another order of the same operations could have left it."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return x * (1 + ROUNDING * noise)


def at_least_rounding(base: Tolerance, output: Tensor, moved: Tensor) -> Tolerance:
    """`base`, or ten times what noise in the input does to a value that is more sensitive.

    Fourier layers take the cosine of large angles, and a forecast that feeds on itself can be
    chaotic: there no two implementations in float32 agree better.

    Args:
        base: what holds for a value that is not sensitive.
        output: computed from the input.
        moved: computed from the `rounded` input.
    """
    noise = 10 * float((output - moved).detach().abs().max()) if output.numel() else 0.0
    return Tolerance(max(base.absolute, noise), base.relative)


def for_output_of(
    base: Tolerance, run: Callable[[Tensor], Tensor], x: Tensor, expected: Tensor
) -> tuple[Tensor, Tolerance]:
    """`run(x)`, and its tolerance: only where `base` is not enough, `at_least_rounding`."""
    with torch.no_grad():
        output = run(x)
        if output.shape != expected.shape or base.excess(output, expected)[1] <= 1:
            return output, base
        tries = [at_least_rounding(base, output, run(rounded(x, seed))) for seed in range(3)]
    return output, max(tries, key=lambda tolerance: tolerance.absolute)
