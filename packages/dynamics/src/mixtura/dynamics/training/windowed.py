"""Windowed training that starts shared and splits: the recommended recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from mixtura.core import InputError, configurable
from mixtura.dynamics.gate import KMeansPlusPlus
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training.objective import Objective, ObjectiveValue
from mixtura.dynamics.training.recipe import Recipe, descend
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["Stage", "WindowedTraining"]


@configurable
@dataclass(frozen=True)
class Stage:
    """A part of the run.

    Args:
        until: share of the run at which the stage ends.
        window: samples per window; 0 is the whole trajectory.
    """

    until: float
    window: int


@configurable
class WindowedTraining(Recipe):
    """Short windows first, whole trajectories last; one shared expert first, then K.

    A long trajectory that spans more than one period has a loss full of local minima; windows that
    begin at observed states have not (multiple shooting). And experts that compete from the start
    end up where chance put them. So all environments train one expert until their contexts tell
    the families apart; then the contexts are clustered, every expert takes over the shared weights
    and the environments of a cluster, and training goes on. The gate is fitted to this assignment
    in closed form.

    Bock and Plitt, A multiple shooting algorithm for direct solution of optimal control problems,
    1984 (windows); the split is Mixtura's own.

    Args:
        objective: the loss; mean squared error when not given.
        outer_steps: of a run.
        inner_steps: gradient steps per outer step.
        stages: windows over the run; 6 until one half, 12 until 0.7 and whole trajectories after
            that when not given.
        random_windows: windows that begin at random samples, beside the one at the start.
        split_at: share of the run at which the shared expert is split; 0 starts with K experts,
            each environment at the expert that fits it best (hard expectation maximisation).
        clustering: of the contexts at the split; k-means++ with 50 restarts when not given.
        reassign_every: gradient steps between reassignments to the best expert; 0 keeps the
            clusters.
        reassign_until: share of the run after which nothing is reassigned.
        lr: largest step size of Adam in its one-cycle schedule.
        clip: largest norm of the gradient.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        outer_steps: int = 100,
        inner_steps: int = 24,
        stages: Sequence[Stage] | None = None,
        random_windows: int = 3,
        split_at: float = 0.25,
        clustering: KMeansPlusPlus | None = None,
        reassign_every: int = 0,
        reassign_until: float = 0.4,
        lr: float = 5e-3,
        clip: float = 1.0,
    ) -> None:
        super().__init__()
        self.objective = Objective() if objective is None else objective
        self.outer_steps, self.inner_steps = outer_steps, inner_steps
        self.stages = [Stage(0.5, 6), Stage(0.7, 12), Stage(1.0, 0)] if stages is None else stages
        if not self.stages or self.stages[-1].until < 1:
            raise InputError("the last stage of a windowed training must last until 1.0")
        self.random_windows = random_windows
        self.split_at = split_at
        self.clustering = KMeansPlusPlus(50) if clustering is None else clustering
        self.reassign_every, self.reassign_until = reassign_every, reassign_until
        self.lr, self.clip = lr, clip

    @property
    def gradient_steps(self) -> int:
        """Of one outer step."""
        return self.inner_steps

    @property
    def total_steps(self) -> int:
        """Gradient steps of the whole run."""
        return self.outer_steps * self.inner_steps

    def optimisers(self, system: Reconstruction) -> list[Optimizer]:
        """One Adam for weights and contexts."""
        groups = [{"params": self.weights(system)}, {"params": [system.contexts]}]
        return [Adam(groups, lr=self.lr, fused=True)]

    def weights(self, system: Reconstruction) -> list[nn.Parameter]:
        """The experts' parameters, and the gate's if gradients train it."""
        mixer = system.mixer
        return list(mixer.parameters() if mixer.trained_by_gradient else mixer.experts.parameters())

    def learning_rate(self, step: int) -> float:
        """One cycle: up over the first 0.3 of the run from 1/25, down to nothing."""
        total, rise = self.total_steps, 0.3 * self.total_steps
        if step < rise:
            return blend(self.lr / 25, self.lr, step / rise)
        return blend(self.lr, self.lr / 25e4, (step - rise) / max(total - rise, 1))

    def window(self, step: int) -> int:
        """Samples per window at a gradient step."""
        share = step / self.total_steps
        return next(stage.window for stage in self.stages if share < stage.until)

    def step(
        self,
        number: int,
        system: Reconstruction,
        data: Trajectories,
        optimisers: Sequence[Optimizer],
        generator: torch.Generator,
    ) -> StepReport:
        """`inner_steps` gradient steps on weights and contexts together."""
        report = StepReport()
        optimiser = optimisers[0]
        moved = [*self.weights(system), system.contexts]
        split_step = round(self.split_at * self.total_steps)
        everyone = torch.arange(len(data), device=system.contexts.device)
        self.objective.begin(number)
        routed = system.mixer.num_experts > 1 and not system.mixer.trained_by_gradient
        for inner in range(self.inner_steps):
            step = number * self.inner_steps + inner
            window = self.window(step)
            pieces = data.windows(window, self.random_windows, generator) if window else data
            if routed and step < split_step:
                system.assignment.zero_()
            elif routed and split_step and step == split_step:
                self.split(system, optimiser, generator, report)
            elif routed and self.due(step, split_step):
                self.reassign(system, pieces, report)
            for group in optimiser.param_groups:
                group["lr"] = self.learning_rate(step)

            def evaluate(kept: Tensor, pieces: Trajectories = pieces) -> ObjectiveValue:
                return self.objective(
                    system.mixer,
                    system.contexts[kept],
                    pieces.select(kept),
                    forced=system.assignment[kept],
                    numbers=kept,
                    generator=generator,
                )

            place = f"gradient step {step}"
            descend(evaluate, everyone, moved, optimiser, report, place, self.clip)
        if routed:
            self.fit_gate(system, generator)
        return report

    def due(self, step: int, split_step: int) -> bool:
        """Whether environments are reassigned before this gradient step."""
        if split_step == 0 and step == 0:
            return True
        early = step < self.reassign_until * self.total_steps
        return (
            bool(self.reassign_every) and early and (step - split_step) % self.reassign_every == 0
        )

    @torch.no_grad()
    def split(
        self,
        system: Reconstruction,
        optimiser: Optimizer,
        generator: torch.Generator,
        report: StepReport,
    ) -> None:
        """Cluster the contexts; every expert becomes a copy of the shared one."""
        experts, contexts = system.mixer.experts, system.contexts
        k = system.mixer.num_experts
        shared = experts.chunk(contexts, torch.zeros_like(system.assignment))
        clusters = self.clustering(shared.detach(), k, None, generator)
        report.gate_updates.append(clusters.message)
        for parameter in experts.parameters():
            copy_first(parameter)
            for value in optimiser.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    copy_first(value)
        if experts.split_context:
            contexts.copy_(shared.repeat(1, k))
            for name, value in optimiser.state.get(contexts, {}).items():
                if isinstance(value, Tensor) and value.shape == contexts.shape:
                    chunk = value[:, : experts.chunk_dim]
                    optimiser.state[contexts][name] = chunk.repeat(1, k)
        if clusters.assignment is not None:
            system.assignment.copy_(clusters.assignment)
            report.gate_updated += 1

    @torch.no_grad()
    def reassign(self, system: Reconstruction, pieces: Trajectories, report: StepReport) -> None:
        """Each environment to the expert that fits it best; none stays without any."""
        losses = self.objective.expert_losses(system.mixer, system.contexts, pieces)
        losses = losses.nan_to_num(nan=1e30, posinf=1e30)
        best, assignment = losses.min(1)
        counts = torch.bincount(assignment, minlength=losses.shape[1])
        if len(losses) >= losses.shape[1]:
            for empty in torch.nonzero(counts == 0)[:, 0].tolist():
                movable = counts[assignment] > 1
                worst = int(best.where(movable, -1.0).argmax())
                counts[assignment[worst]] -= 1
                counts[empty] += 1
                assignment[worst] = empty
                best[worst] = -1.0
        report.gate_updated += int((assignment != system.assignment).any())
        system.assignment.copy_(assignment)

    def fit_gate(self, system: Reconstruction, generator: torch.Generator) -> None:
        """Regress the gate on the assignment, unless it is frozen."""
        if system.mixer.layer.router.frozen:
            return
        system.gate.regress(
            system.mixer.score, system.contexts, system.assignment, generator=generator
        )


def copy_first(stacked: Tensor) -> None:
    """Give every expert the values of the first one, in place."""
    stacked[1:] = stacked[:1]


def blend(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + cos(pi * min(share, 1.0)))
