"""What every training recipe is."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import Optimizer

from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training.objective import Objective, ObjectiveValue
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["Recipe", "apply_gradients", "descend"]


class Recipe(nn.Module):
    """Base of the recipes: a fixed number of outer steps, each on the data of all environments.

    A recipe keeps nothing between its steps: what has to survive lies in the system, in the
    optimisers and in the generator. A run that is stopped and resumed therefore goes on exactly.

    Attributes:
        outer_steps: of a whole run.
        objective: the loss.
        gradient_steps: of one outer step.
    """

    outer_steps: int
    objective: Objective

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
    loss: Tensor,
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


def descend(
    evaluate: Callable[[Int[Tensor, "kept"]], ObjectiveValue],
    environments: Int[Tensor, "contributors"],
    moved: Sequence[nn.Parameter],
    optimiser: Optimizer,
    report: StepReport,
    place: str,
    clip: float | None = None,
) -> ObjectiveValue:
    """One gradient step that survives exploding trajectories.

    Where the gradient is not finite, the step is taken again without the environments that
    exploded; where that does not help, it is left out. Either is reported.

    Args:
        evaluate: the loss of some environments.
        environments: those that contribute.
        moved: what the step moves.
        optimiser: moves it.
        report: takes the loss and the sentences.
        place: of the step, for the sentences.
        clip: largest norm of the gradient.

    Returns:
        The value of all environments.
    """
    value = evaluate(environments)
    report.failures += value.failures
    loss, done = value.loss, apply_gradients(value.loss, moved, optimiser, clip)
    sound = environments[~value.exploded]
    if not done and 0 < len(sound) < len(environments):
        loss = evaluate(sound).loss
        done = apply_gradients(loss, moved, optimiser, clip)
        if done:
            report.failures.append(
                f"{place}: the gradient is not finite; the step was taken without the "
                f"{len(environments) - len(sound)} environments that exploded"
            )
    if not done:
        report.failures.append(f"{place}: the gradient is not finite, the step was left out")
    report.inner_losses.append(loss.item())
    return value
