"""Forced routing: some units go where they are told."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.routing import Routing

__all__ = ["check_forced", "force"]


def force(
    routing: Routing, forced: Int[Tensor, "units"], mask: Bool[Tensor, "units"] | None
) -> Routing:
    """Send each unit with `forced >= 0` to that expert, with weight 1 and to no other.

    ProMoE (arXiv 2510.24711) sends the tokens of an unconditional sample to a reserved expert.

    Args:
        routing: the free decision, in which forced units were masked.
        forced: expert of each unit, -1 where `routing` holds.
        mask: units that exist, forced or not.
    """
    told = forced >= 0 if mask is None else (forced >= 0) & mask
    if routing.index is not None:
        first = torch.arange(routing.index.shape[1], device=forced.device) == 0
        index = torch.where(told[:, None] & first, forced[:, None], routing.index)
        weight = routing.weight.view_as(routing.index)
        weight = torch.where(told[:, None], first.to(weight.dtype), weight)
        free = ~told[:, None] if routing.valid is None else routing.valid & ~told[:, None]
        sent = Routing.from_choices(
            index,
            weight,
            free | (told[:, None] & first),
            num_experts=routing.num_experts,
            mask=mask,
            logits=routing.logits,
            scores=routing.scores,
            aux=routing.aux,
        )
        if routing.input_weight is not None:
            factor = routing.input_weight.view_as(index)
            sent.input_weight = torch.where(told[:, None], 1.0, factor).flatten()
        return sent
    units = torch.arange(routing.num_units, device=forced.device)
    sent = Routing(
        torch.cat([routing.unit, units]),
        torch.cat([routing.expert, torch.where(told, forced, routing.num_experts)]),
        torch.cat([routing.weight, torch.ones_like(forced, dtype=routing.weight.dtype)]),
        num_units=routing.num_units,
        num_experts=routing.num_experts,
        mask=mask,
        logits=routing.logits,
        scores=routing.scores,
        aux=routing.aux,
    )
    if routing.input_weight is not None:
        ones = torch.ones_like(forced, dtype=routing.input_weight.dtype)
        sent.input_weight = torch.cat([routing.input_weight, ones])
    return sent


def check_forced(forced: Int[Tensor, "units"], num_experts: int) -> None:
    """Refuse experts that do not exist, where the host can see them."""
    hidden = forced.device.type != "cpu" or torch.compiler.is_compiling()
    if hidden or len(forced) == 0 or int(forced.max()) < num_experts:
        return
    raise InputError(
        f"a unit is forced to an expert between 0 and {num_experts - 1}, or to none (-1), got "
        f"{int(forced.max())}"
    )
