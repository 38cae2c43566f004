"""Small systems that several tests use."""

import torch
from torch import Tensor

from mixtura.dynamics import GEPS, MixER, Reconstruction, Trajectories
from mixtura.dynamics.experts import VectorFields


def rotations(rates: list[float], times: int = 12, trajectories: int = 3) -> Trajectories:
    """x' = rate * J x for each rate: exact circles."""
    random = torch.Generator().manual_seed(0)
    t = torch.linspace(0, 2, times)
    start = torch.randn(len(rates), trajectories, 2, generator=random)
    angle = torch.tensor(rates)[:, None] * t
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x = torch.stack(
        [
            start[..., :1] * cos + start[..., 1:] * sin,
            start[..., 1:] * cos - start[..., :1] * sin,
        ],
        -1,
    )
    return Trajectories(x, t.expand(len(rates), -1).clone())


def small_mixer(kind: type[VectorFields] = GEPS, experts: int = 3, seed: int = 0) -> MixER:
    torch.manual_seed(seed)
    return MixER(kind(experts, 2, 2 * experts, width=8, depth=3, same_init=False))


def small_system(environments: int, experts: int = 2) -> Reconstruction:
    return Reconstruction(small_mixer(experts=experts), environments)


def contexts_for(mixer: MixER, count: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(count, mixer.experts.context_dim, generator=random)
