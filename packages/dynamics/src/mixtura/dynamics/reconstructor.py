"""The object that users of Python call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import Progress

from mixtura.core import InputError
from mixtura.datasets.dynamics import Environments, from_arrays
from mixtura.dynamics.adaptation import Adaptation, Adapted
from mixtura.dynamics.experts import CAVIA, GEPS, NCF, CoDA, ShPLRNN, VectorFields
from mixtura.dynamics.mixer import MixER
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.solvers import RK4, Iteration
from mixtura.dynamics.training import Objective, Recipe, Stage, WindowedTraining
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["MixERReconstructor"]

ExpertKind = Literal["geps", "ncf", "coda", "cavia", "shplrnn"]
KINDS: dict[str, type[VectorFields]] = {
    "geps": GEPS,
    "ncf": NCF,
    "coda": CoDA,
    "cavia": CAVIA,
    "shplrnn": ShPLRNN,
}

States = Sequence[np.ndarray | Sequence[np.ndarray]] | np.ndarray
Times = Sequence[np.ndarray] | np.ndarray
Starts = Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]] | np.ndarray
Clock = Sequence[float] | np.ndarray


class MixERReconstructor:
    """Learn vector fields from trajectories of several systems; simulate them; adapt to new ones.

    Args:
        n_experts: Experts; as many as there may be families.
        expert: Kind of meta-learner; shplrnn is a map from a sample to the next, for series.
        context_per_expert: Entries of an environment's context for each expert.
        width: Hidden width.
        outer_steps: Length of the training, 24 gradient steps each.
        substeps: RK4 steps between two samples; maps have none.
        standardise: Scale every dimension to zero mean and unit variance.
        recipe: Another training.
        seed: Of weights and every random choice.
        num_threads: Threads of torch while fitting.
        progress: Show a bar.
    """

    def __init__(
        self,
        n_experts: int = 4,
        expert: ExpertKind = "geps",
        *,
        context_per_expert: int = 4,
        width: int = 64,
        outer_steps: int = 100,
        substeps: int = 1,
        standardise: bool = True,
        recipe: Recipe | None = None,
        seed: int = 0,
        num_threads: int = 1,
        progress: bool = True,
    ) -> None:
        if expert not in KINDS:
            raise InputError(f"expert must be one of {', '.join(KINDS)}, got {expert!r}")
        self.n_experts, self.expert = n_experts, expert
        self.context_per_expert, self.width = context_per_expert, width
        self.outer_steps, self.substeps, self.standardise = outer_steps, substeps, standardise
        self.recipe, self.seed = recipe, seed
        self.num_threads, self.progress = num_threads, progress
        self.system_: Reconstruction | None = None
        self.losses_: list[float] = []
        self.failures_: list[str] = []

    def fit(self, x: States, t: Times) -> "MixERReconstructor":
        """Train.

        Args:
            x: (environments, trajectories, times, dims), or a list of one array (or one list of
                trajectories of different lengths) per environment.
            t: times, shared (times) or per environment; they need not be equidistant.
        """
        data = Trajectories.of(environments(x, t))
        if self.n_experts > len(data):
            raise InputError(
                f"{self.n_experts} experts are more than the {len(data)} environments; lower "
                "n_experts, an expert without an environment learns nothing"
            )
        torch.set_num_threads(self.num_threads)
        torch.manual_seed(self.seed)
        experts = self.experts(data.x.shape[-1])
        solver = Iteration() if experts.discrete else RK4(self.substeps)
        system = Reconstruction(
            MixER(experts),
            len(data),
            solver=solver,
            # nothing but the context makes a map's weights: from zero they would get no gradient
            context_start="normal" if experts.discrete else "zero",
        )
        if self.standardise:
            system.standardise(data)
        recipe = self.recipe or self.usual_recipe(data, solver)
        generator = torch.Generator().manual_seed(self.seed)
        scaled, optimisers = system.scaled(data), recipe.optimisers(system)
        self.losses_, self.failures_ = [], []
        with Progress(disable=not self.progress, transient=True) as bar:
            task = bar.add_task("training", total=recipe.outer_steps)
            for number in range(recipe.outer_steps):
                report = recipe.step(number, system, scaled, optimisers, generator)
                self.losses_.append(report.loss)
                self.failures_ += report.failures
                bar.update(task, advance=1, description=f"training, loss {report.loss:.3g}")
        system.eval()
        self.system_ = system
        return self

    def experts(self, dim: int) -> VectorFields:
        """The bank of experts for states of `dim` dimensions."""
        context = self.context_per_expert * self.n_experts
        if self.expert == "shplrnn":
            return ShPLRNN(self.n_experts, dim, context, hidden_dim=self.width, split_context=True)
        kind: Any = KINDS[self.expert]
        return kind(self.n_experts, dim, context, width=self.width)

    def usual_recipe(self, data: Trajectories, solver: RK4 | Iteration) -> WindowedTraining:
        """Windows of growing length, whole trajectories last."""
        lengths = data.lengths
        times = data.x.shape[2] if lengths is None else int(lengths[lengths > 0].median())
        stages = [Stage(1.0, 0)]
        if times >= 8:
            stages = [Stage(0.5, max(times // 4, 3)), Stage(0.7, max(times // 2, 4)), *stages]
        return WindowedTraining(
            Objective(solver), outer_steps=self.outer_steps, stages=stages, random_windows=3
        )

    @property
    def system(self) -> Reconstruction:
        """The trained system."""
        if self.system_ is None:
            raise InputError("nothing is trained yet; call fit(x, t) or from_pretrained(folder)")
        return self.system_

    @property
    def contexts_(self) -> np.ndarray:
        """Context of each environment (environments, context)."""
        return self.system.contexts.detach().numpy()

    @property
    def families_(self) -> np.ndarray:
        """Expert of each environment (environments)."""
        return self.system.family().numpy()

    @torch.no_grad()
    def simulate(
        self,
        x0: Starts,
        t: Clock,
        env: int | np.integer | Sequence[int] | np.ndarray | Adapted = 0,
    ) -> np.ndarray:
        """Trajectories from initial states.

        Args:
            x0: (trajectories, dims) for one environment, with a leading axis for more.
            t: times.
            env: a known environment, several of them, or what `adapt` returned.

        Returns:
            (trajectories, times, dims), with a leading axis for more than one environment.
        """
        start = torch.as_tensor(np.asarray(x0), dtype=torch.float32)
        times = torch.as_tensor(np.asarray(t), dtype=torch.float32)
        single = start.ndim == 2
        start = start[None] if single else start
        if isinstance(env, Adapted):
            solution = self.system(start, times, contexts=env.contexts, experts=env.experts)
        else:
            numbers = np.atleast_1d(np.asarray(env))
            if numbers.dtype.kind not in "iu":
                raise InputError(f"an environment is a number from 0, got {env!r}")
            index = torch.as_tensor(numbers, dtype=torch.long)
            if bool(((index < 0) | (index >= self.system.num_environments)).any()):
                raise InputError(
                    f"there are {self.system.num_environments} environments, numbered from 0; "
                    f"got {index.tolist()}"
                )
            solution = self.system(start, times, environments=index)
        states = solution.states.numpy()
        return states[0] if single else states

    def adapt(self, x: States, t: Times, adaptation: Adaptation | None = None) -> Adapted:
        """Contexts and experts of new environments from a few trajectories of each."""
        return (adaptation or Adaptation())(self.system, Trajectories.of(environments(x, t)))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the trained system as a folder to share."""
        return self.system.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "MixERReconstructor":
        """A reconstructor around a shared system."""
        system = Reconstruction.from_pretrained(folder)
        experts = system.mixer.experts
        kinds = (name for name, kind in KINDS.items() if isinstance(experts, kind))
        made = cls(experts.num_experts, next(kinds, "geps"))  # pyright: ignore[reportArgumentType]
        made.system_ = system
        return made


def environments(x: States, t: Times) -> Environments:
    """Checked data from one array or from one array per environment."""
    if isinstance(x, np.ndarray) and x.ndim == 4:
        return Environments(x, np.asarray(t))
    return from_arrays(list(x), t)
