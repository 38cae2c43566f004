"""GEPS' own training: one loop, relative errors, scheduled teacher forcing."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from mixtura.core import InputError, Routing, configurable
from mixtura.dynamics.experts import GEPS
from mixtura.dynamics.metrics.errors import rel_l2
from mixtura.dynamics.mixer import MixER
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.solvers import RK4, Solution
from mixtura.dynamics.training.objective import Objective, ObjectiveValue
from mixtura.dynamics.training.recipe import Recipe, descend
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["ForcedObjective", "GEPSTraining"]


@configurable
class ForcedObjective(Objective):
    """Mean over trajectories of `||predicted - true|| / ||true||`, with scheduled teacher forcing.

    At every sample a trajectory goes on from the observed state with some probability, else from
    its own. The probability decays over the run.

    Kassaï Koupaï et al., GEPS, 2024, arXiv 2410.23889.

    Args:
        solver: RK4 with one step per interval when not given.
        forcing: probability at the start; 0 for none.
        forcing_decay: factor on it.
        forcing_every: outer steps between two decays.
        seed: of the coins; a step that is repeated throws the same ones.
    """

    def __init__(
        self,
        solver: nn.Module | None = None,
        forcing: float = 0.99,
        forcing_decay: float = 0.99,
        forcing_every: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(RK4() if solver is None else solver)
        if not 0 <= forcing <= 1:
            raise InputError(f"forcing is a probability, got {forcing}")
        self.forcing, self.forcing_decay = forcing, forcing_decay
        self.forcing_every, self.seed = forcing_every, seed
        self.outer_step = 0

    def begin(self, outer_step: int) -> None:
        """The forcing decays from one outer step to the next."""
        self.outer_step = outer_step

    def errors(self, solution: Solution, data: Trajectories) -> Float[Tensor, "units"]:
        """Relative error of each unit."""
        return rel_l2(solution.states, data.x, data.observed)

    def predict(
        self,
        mixer: MixER,
        contexts: Float[Tensor, "units context"],
        data: Trajectories,
        routing: Routing,
        around: Float[Tensor, "units context"] | None = None,
    ) -> Solution:
        """Interval by interval, from observed or own states."""
        share = self.forcing * self.forcing_decay ** (self.outer_step // self.forcing_every)
        if not torch.is_grad_enabled() or share < 1e-3:
            return super().predict(mixer, contexts, data, routing, around)
        coins = torch.Generator().manual_seed(self.seed * 1_000_003 + self.outer_step)
        intervals = data.x.shape[2] - 1
        forced = torch.rand(intervals, generator=coins) < share
        # between two observed starts the trajectory is one solve
        starts = [0, *(i for i in range(1, intervals) if bool(forced[i])), intervals]
        states = [data.x0[:, :, None]]
        for first, last in pairwise(starts):
            piece = Trajectories(data.x[:, :, first : last + 1], data.t[:, first : last + 1])
            states.append(super().predict(mixer, contexts, piece, routing, around).states[:, :, 1:])
        whole = torch.cat(states, 2)
        solver = self.solver
        assert isinstance(solver, RK4)
        return solver.report(whole, data.t)


@configurable
class GEPSTraining(Recipe):
    """All environments in every step, codes and weights together.

    Adam whose step size shrinks when the loss does not fall (factor 0.9 after 350 steps without a
    gain of one percent, down to 1e-5), and a squared penalty on codes and low-rank factors.

    Kassaï Koupaï et al., GEPS, 2024, arXiv 2410.23889. With K experts the gate is fitted in closed
    form once per outer step.

    Args:
        objective: `ForcedObjective` when not given.
        outer_steps: of a run.
        inner_steps: gradient steps per outer step.
        lr: first step size.
        penalty: on codes and low-rank factors.
        factor: on the step size at a plateau.
        patience: gradient steps without a gain before that.
        threshold: smallest relative gain that counts.
        least_lr: smallest step size.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        outer_steps: int = 1000,
        inner_steps: int = 1,
        lr: float = 1e-3,
        penalty: float = 1e-6,
        factor: float = 0.9,
        patience: int = 350,
        threshold: float = 0.01,
        least_lr: float = 1e-5,
    ) -> None:
        super().__init__()
        self.objective = ForcedObjective() if objective is None else objective
        self.outer_steps, self.inner_steps = outer_steps, inner_steps
        self.lr, self.penalty = lr, penalty
        self.factor, self.patience = factor, patience
        self.threshold, self.least_lr = threshold, least_lr

    @property
    def gradient_steps(self) -> int:
        """Of one outer step."""
        return self.inner_steps

    def optimisers(self, system: Reconstruction) -> list[Optimizer]:
        """Adam; its group also remembers the best loss, so that a resumed run goes on exactly."""
        if not isinstance(system.mixer.experts, GEPS):
            kind = type(system.mixer.experts).__name__
            raise InputError(f"GEPSTraining penalises GEPS' low-rank factors, got {kind} experts")
        group = {"params": self.moved(system), "best": float("inf"), "waited": 0}
        return [Adam([group], lr=self.lr)]

    def moved(self, system: Reconstruction) -> list[nn.Parameter]:
        """Weights and codes, and the gate if gradients train it."""
        mixer = system.mixer
        weights = mixer.parameters() if mixer.trained_by_gradient else mixer.experts.parameters()
        return [*weights, system.contexts]

    def step(
        self,
        number: int,
        system: Reconstruction,
        data: Trajectories,
        optimisers: Sequence[Optimizer],
        generator: torch.Generator,
    ) -> StepReport:
        """`inner_steps` gradient steps, then an update of the gate."""
        report, optimiser = StepReport(), optimisers[0]
        self.objective.begin(number)
        experts, moved = system.mixer.experts, self.moved(system)
        assert isinstance(experts, GEPS)
        everyone = torch.arange(len(data), device=system.contexts.device)

        def evaluate(kept: Tensor) -> ObjectiveValue:
            value = self.objective(
                system.mixer,
                system.contexts[kept],
                data.select(kept),
                numbers=kept,
                generator=generator,
            )
            small = [system.contexts, *experts.low_rank_parameters()]
            value.loss = value.loss + self.penalty * sum(p.square().sum() for p in small)
            return value

        for inner in range(self.inner_steps):
            place = f"outer step {number}, gradient step {inner}"
            descend(evaluate, everyone, moved, optimiser, report, place)
            self.watch(optimiser, report.inner_losses[-1])
        if system.mixer.num_experts > 1 and not system.mixer.trained_by_gradient:
            losses = self.objective.expert_losses(system.mixer, system.contexts, data)
            fit = system.update_gate(losses, generator)
            report.gate_updates.append(fit.message)
            report.gate_updated += fit.updated
        return report

    def watch(self, optimiser: Optimizer, loss: float) -> None:
        """Shrink the step size at a plateau."""
        for group in optimiser.param_groups:
            if loss < group["best"] * (1 - self.threshold):
                group["best"], group["waited"] = loss, 0
                continue
            group["waited"] += 1
            if group["waited"] > self.patience:
                group["lr"] = max(group["lr"] * self.factor, self.least_lr)
                group["waited"] = 0
