"""CAVIA: contexts are adapted from zero in every step, weights learn to make that work."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from mixtura.core import InputError, configurable
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.solvers import RK4
from mixtura.dynamics.training.objective import Objective, ObjectiveValue
from mixtura.dynamics.training.recipe import Recipe, descend
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["CAVIATraining"]


@configurable
class CAVIATraining(Recipe):
    """An inner loop of gradient steps on fresh contexts, an outer step on the weights.

    The outer gradient goes through the inner loop (second order), or takes the inner gradients as
    constants (first order). The system keeps the contexts of the last inner loop.

    Zintgraf et al., Fast Context Adaptation via Meta-Learning, 2019, arXiv 1810.03642.

    Args:
        objective: the loss; mean squared error when not given. For second order its solver must
            not have a hand-written gradient.
        outer_steps: steps on the weights.
        inner_steps: steps on the contexts within each.
        inner_lr: size of the inner steps (plain gradient descent).
        lr: step size of Adam on the weights.
        second_order: whether the gradient goes through the inner loop.
        clip: largest norm of the outer gradient.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        outer_steps: int = 1000,
        inner_steps: int = 3,
        inner_lr: float = 1.0,
        lr: float = 1e-3,
        second_order: bool = True,
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        if objective is None:
            objective = Objective(RK4(discrete_adjoint=not second_order))
        self.objective = objective
        solver = objective.solver
        if second_order and (solver is None or getattr(solver, "discrete_adjoint", False)):
            raise InputError(
                "second-order CAVIA differentiates a gradient, which the solver's discrete adjoint "
                "does not allow; give the objective RK4(discrete_adjoint=False) or set "
                "second_order=False"
            )
        self.outer_steps, self.inner_steps = outer_steps, inner_steps
        self.inner_lr, self.lr = inner_lr, lr
        self.second_order, self.clip = second_order, clip

    @property
    def gradient_steps(self) -> int:
        """Inner steps and the outer one."""
        return self.inner_steps + 1

    def optimisers(self, system: Reconstruction) -> list[Optimizer]:
        """Adam on the weights."""
        return [Adam(system.mixer.parameters(), lr=self.lr)]

    def inner_loop(self, system: Reconstruction, data: Trajectories) -> Tensor:
        """Contexts after the inner steps, with their history where the order is two."""
        contexts = torch.zeros_like(system.contexts).requires_grad_()
        for _ in range(self.inner_steps):
            value = self.objective(system.mixer, contexts, data, forced=system.assignment)
            # environments are independent: the mean's gradient is scaled back to each one's own
            (gradient,) = torch.autograd.grad(
                value.loss * len(data), [contexts], create_graph=self.second_order
            )
            contexts = contexts - self.inner_lr * gradient
        return contexts

    def step(
        self,
        number: int,
        system: Reconstruction,
        data: Trajectories,
        optimisers: Sequence[Optimizer],
        generator: torch.Generator,
    ) -> StepReport:
        """One inner loop and one step on the weights."""
        report = StepReport()
        self.objective.begin(number)
        contexts = self.inner_loop(system, data)

        def evaluate(kept: Tensor) -> ObjectiveValue:
            return self.objective(
                system.mixer,
                contexts[kept],
                data.select(kept),
                forced=system.assignment[kept],
                numbers=kept,
                generator=generator,
            )

        moved = list(system.mixer.parameters())
        everyone = torch.arange(len(data), device=contexts.device)
        place = f"outer step {number}"
        descend(evaluate, everyone, moved, optimisers[0], report, place, self.clip)
        with torch.no_grad():
            system.contexts.copy_(contexts)
        return report
