"""Locality: an expert that works a lot should not move far."""

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError

__all__ = ["locality"]


def locality(
    experts: nn.Module, before: dict[str, Tensor], share: Float[Tensor, "experts"]
) -> Float[Tensor, ""]:
    """`sum_m pi_m |w_m - w_m^before|^2`: similar tasks stay with the same expert.

    MoE in continual learning (arXiv 2406.16437).

    Args:
        experts: a bank whose parameters have one slice per expert.
        before: its `state_dict` at the end of the last task.
        share: how much each expert was used; sums to 1.
    """
    total = share.new_zeros(())
    for name, parameter in experts.named_parameters():
        if name not in before or before[name].shape != parameter.shape:
            raise InputError(f"the earlier state has no {name} of shape {tuple(parameter.shape)}")
        if len(parameter) != len(share):
            raise InputError(f"{name} has {len(parameter)} slices for {len(share)} experts")
        moved = (parameter - before[name].to(parameter)).flatten(1).square().sum(-1)
        total = total + (share.to(moved) * moved).sum()
    return total
