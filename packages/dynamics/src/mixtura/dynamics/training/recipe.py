"""What every training recipe is."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["Recipe", "apply_gradients"]


class Recipe(nn.Module):
    """Base of the recipes: a fixed number of outer steps, each on the data of all environments.

    A recipe keeps nothing between its steps: what has to survive lies in the system, in the
    optimisers and in the generator. A run that is stopped and resumed therefore goes on exactly.

    Attributes:
        outer_steps: of a whole run.
        gradient_steps: of one outer step.
    """

    outer_steps: int

    @property
    def gradient_steps(self) -> int:
        """Gradient steps of one outer step."""
        raise NotImplementedError

    def optimisers(self, system: Reconstruction) -> list[Optimizer]:
        """New optimisers for a system."""
        raise NotImplementedError

    def step(
        self,
        number: int,
        system: Reconstruction,
        data: Trajectories,
        optimisers: Sequence[Optimizer],
        generator: torch.Generator,
    ) -> StepReport:
        """Outer step `number` (from zero).

        Args:
            number: of the step.
            system: what is trained.
            data: trajectories in the network's units.
            optimisers: what `optimisers` returned, or wrappers of it.
            generator: every random choice draws from it.
        """
        raise NotImplementedError

    def run(
        self, system: Reconstruction, data: Trajectories, generator: torch.Generator
    ) -> list[StepReport]:
        """All outer steps."""
        optimisers = self.optimisers(system)
        return [
            self.step(number, system, data, optimisers, generator)
            for number in range(self.outer_steps)
        ]


def apply_gradients(
    loss: torch.Tensor,
    moved: Sequence[nn.Parameter],
    optimiser: Optimizer,
    clip: float | None = None,
) -> bool:
    """One step on `moved` alone; False, and nothing done, when a gradient is not finite."""
    gradients = torch.autograd.grad(loss, moved, allow_unused=True)
    present = [g for g in gradients if g is not None]
    norm = torch.nn.utils.get_total_norm(present)
    if not bool(norm.isfinite()):
        return False
    if clip is not None and float(norm) > clip:
        torch._foreach_mul_(present, clip / (float(norm) + 1e-6))
    for parameter, gradient in zip(moved, gradients, strict=True):
        parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
    optimiser.step()
    return True
