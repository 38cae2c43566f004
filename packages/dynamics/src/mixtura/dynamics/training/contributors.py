"""Which environments a gradient step looks at."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import InputError
from mixtura.dynamics.contexts import mean_distance

__all__ = ["Contribution", "choose_contributors"]

Contribution = Literal["NF", "RA", "FO", "NF-W", "NF-iW", "NF-B"]


@torch.no_grad()
def choose_contributors(
    contexts: Float[Tensor, "environments context"],
    count: int,
    strategy: Contribution = "NF",
    *,
    last_losses: Float[Tensor, "environments"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "count"]:
    """Indices of `count` environments.

    Args:
        contexts: of all environments.
        count: how many take part.
        strategy: FO the first ones; RA random ones; NF the nearest (mean absolute difference) to
            an anchor, itself included. The anchor is uniform (NF), drawn in proportion to the last
            loss (NF-W) or its inverse (NF-iW), or that of largest loss (NF-B).
        last_losses: of all environments, for the last three; infinite for those that had none yet,
            which come first.
        generator: draws.
    """
    total = len(contexts)
    if not 1 <= count <= total:
        raise InputError(
            f"{count} environments cannot contribute to a loss, there are {total}; "
            f"take 1 to {total}"
        )
    if count == total:
        return torch.arange(total, device=contexts.device)
    if strategy == "FO":
        return torch.arange(count, device=contexts.device)
    if strategy == "RA":
        return torch.randperm(total, generator=generator)[:count].to(contexts.device)
    if last_losses is None:
        last_losses = torch.full((total,), torch.inf)
    if strategy == "NF":
        anchor = int(torch.randint(total, (), generator=generator))
    elif strategy == "NF-B":
        anchor = int(last_losses.argmax())
    elif strategy in ("NF-W", "NF-iW"):
        weight = last_losses.clamp_min(1e-12).cpu()
        if bool(weight.isinf().any()):
            weight = weight.isinf().float()
        elif strategy == "NF-iW":
            weight = 1 / weight
        anchor = int(torch.multinomial(weight, 1, generator=generator))
    else:
        raise InputError(
            f"contributors are chosen by NF, RA, FO, NF-W, NF-iW or NF-B, got {strategy!r}"
        )
    return mean_distance(contexts)[anchor].argsort(dim=0, stable=True)[:count]
