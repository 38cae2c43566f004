"""Networks and data of this package as cases of the common checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mixtura.core import TopK
from mixtura.dynamics.data import EnvironmentsDataModule
from mixtura.dynamics.dynamix import DynaMix, InContextGate, RecurrentExperts
from mixtura.dynamics.excerpts import ContextsDataModule, Excerpt
from mixtura.dynamics.experts import CAVIA, GEPS, NCF, CoDA, OfficialGEPS, ShPLRNN, VectorFields
from mixtura.dynamics.mixer import MixER
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.solvers import AdaptiveTsit5, Tsit5
from mixtura.dynamics.trajectories import Trajectories
from mixtura.training.testing import DataCase, NetworkCase

__all__ = ["DATA", "NETWORKS", "UNCHECKED"]

ENVIRONMENTS, DIM, TIMES = 7, 2, 5

RECIPE = "how a network is trained, not a network"
UNCHECKED = {
    "Adaptation": RECIPE,
    "CAVIATraining": RECIPE,
    "ForcedObjective": RECIPE,
    "GEPSTraining": RECIPE,
    "LowRankTuning": RECIPE,
    "Objective": RECIPE,
    "PAM": RECIPE,
    "SequenceObjective": RECIPE,
    "WindowedTraining": RECIPE,
    "TorchDiffEq": "its package is an extra",
}
CLOSED_FORM = "the gate is fitted in closed form"


def problems(samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Initial states and times of some of the known environments, and which they are."""
    x0 = torch.randn(samples, 2, DIM, generator=generator)
    t = torch.linspace(0, 0.5, TIMES).expand(samples, -1)
    return x0, t, torch.arange(samples) % ENVIRONMENTS


def solve(network: Reconstruction, x0: Tensor, t: Tensor, environments: Tensor) -> Tensor:
    """The trajectories."""
    return network(x0, t, environments=environments).states


def reconstruction(
    name: str, experts: Callable[[], VectorFields], *, by_gradient: bool = False, **options: Any
) -> NetworkCase:
    """A small system; contexts start from random numbers, so that a gradient reaches all."""

    def build() -> nn.Module:
        selection = TopK(1, renormalize="never") if by_gradient else None
        mixer = MixER(experts(), selection)
        return Reconstruction(mixer, ENVIRONMENTS, context_start="normal", **options)

    return NetworkCase(
        name,
        build,
        problems,
        lambda n: (n, 2, TIMES, DIM),
        call=solve,
        idle={} if by_gradient else {"mixer.layer.router.score_function.weight": CLOSED_FORM},
        exports=False,
    )


def observed(samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Observed frames."""
    return (torch.randn(samples, 6, 3, generator=generator),)


def continued(network: DynaMix, context: Tensor) -> Tensor:
    """Latent states after the context."""
    states = network(context.transpose(0, 1), network.initial_state(context[:, -1]), TIMES)
    return states.transpose(0, 1)


def dynamix(kind: Literal["almost_linear", "clipped_shallow"]) -> Callable[[], nn.Module]:
    """A small DynaMix without noise on the compared state."""
    return lambda: DynaMix(
        3, RecurrentExperts(4, 6, 2, 8, kind=kind), InContextGate(4, 6, 3, noise=0.0)
    )


SIZES: dict[str, Any] = {"width": 8, "depth": 3}

NETWORKS = [
    reconstruction("mixer_geps", lambda: GEPS(2, DIM, 4, **SIZES)),
    reconstruction("mixer_geps_by_gradient", lambda: GEPS(2, DIM, 4, **SIZES), by_gradient=True),
    reconstruction("mixer_geps_tsit5", lambda: GEPS(2, DIM, 4, **SIZES), solver=Tsit5()),
    reconstruction("mixer_geps_adaptive", lambda: GEPS(2, DIM, 4, **SIZES), solver=AdaptiveTsit5()),
    reconstruction("mixer_official_geps", lambda: OfficialGEPS(2, DIM, 4, **SIZES)),
    reconstruction("mixer_shplrnn", lambda: ShPLRNN(2, DIM, 4, hidden_dim=6)),
    reconstruction("mixer_cavia", lambda: CAVIA(2, DIM, 4, **SIZES)),
    reconstruction("mixer_coda", lambda: CoDA(2, DIM, 4, **SIZES)),
    reconstruction("mixer_ncf", lambda: NCF(2, DIM, 4, intermediate_dim=6, **SIZES)),
    NetworkCase(
        "dynamix", dynamix("almost_linear"), observed, lambda n: (n, TIMES, 6), call=continued
    ),
    NetworkCase(
        "dynamix_clipped",
        dynamix("clipped_shallow"),
        observed,
        lambda n: (n, TIMES, 6),
        call=continued,
        idle={f"experts.{p}": "both branches are equal at the start" for p in ("w1", "w2")},
    ),
]


def written(folder: Path, times: int) -> str:
    """A folder of a few environments, four trajectories each."""
    for number in range(3):
        path = folder / f"{number}.csv"
        if not path.exists():
            states = np.random.default_rng(number).normal(size=(4 * times, DIM))
            clock = np.tile(np.arange(times) / 10, 4)
            table = np.column_stack((np.repeat(np.arange(4), times), clock, states))
            np.savetxt(path, table, delimiter=",", header="trajectory,t,x,y", comments="")
    return str(folder)


def environments(folder: Path, **arguments: Any) -> EnvironmentsDataModule:
    """A few environments from files."""
    name = written(folder, TIMES)
    return EnvironmentsDataModule(name, val_trajectories=1, batches_per_epoch=4, **arguments)


def contexts(folder: Path, **arguments: Any) -> ContextsDataModule:
    """Excerpts of the trajectories in files."""
    name = written(folder, 40)
    sizes = {"context": 5, "steps": 4, "horizon": 3, "batch_size": 2, "batches_per_epoch": 4}
    return ContextsDataModule(name, **sizes, **arguments)


def trajectories(batch: Trajectories) -> list[Any]:
    """Every trajectory of every environment."""
    return [tuple(one.flatten().tolist()) for one in batch.x.flatten(0, 1)]


def excerpts(batch: Excerpt) -> list[Any]:
    """Every excerpt of a batch."""
    return [tuple(one.flatten().tolist()) for one in batch.x.transpose(0, 1)]


DATA = [
    DataCase(
        "ContextsDataModule",
        contexts,
        excerpts,
        splits=("train", "val"),
        seeded=None,
        workers=None,
        repeats=True,
    ),
    DataCase(
        "EnvironmentsDataModule",
        environments,
        trajectories,
        splits=("train", "val"),
        seeded=None,
        workers=None,
        repeats=True,
    ),
]
