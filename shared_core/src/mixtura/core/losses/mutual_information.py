"""Mutual information: tasks should use different experts, and all experts should be used.

Shape letters: T tasks, U units, R experts that have a logit.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.routing import Routing

__all__ = ["MutualInformation", "mutual_information"]

Over = Literal["routed", "all"]

FLOOR = 1e-4


def mutual_information(
    calls: Sequence[Routing], num_tasks: int, *, over: Over = "routed"
) -> Float[Tensor, ""]:
    """`I(task; expert)` under the full softmax of the logits, in nats.

    The calls of one layer in one optimisation step are pooled, one call for each task or one with
    a task for each unit; padded and forced units do not count. Every probability carries a constant
    of 1e-4, as in the reference implementation.

    Args:
        calls: routings that know their task (`PerTaskScore`).
        num_tasks: T.
        over: whether the logits of shared experts (`JointWithShared`) take part.

    Source: Mod-Squad (Chen et al., CVPR 2023, arXiv 2212.08066, section 3.3).
    """
    used: Tensor | None = None
    total: Tensor | float = 0.0
    for call in calls:
        task = call.aux.get("task")
        if task is None or call.logits is None:
            raise InputError(
                "a mutual-information loss needs routings that carry logits and know their task; "
                "use PerTaskScore"
            )
        shared = call.aux.get("num_shared", 0) if over == "routed" else 0
        logits = call.logits[:, : call.logits.shape[-1] - shared]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        probability = logits.softmax(-1) + FLOOR
        alive: Tensor | float = float(call.num_units)
        if call.free is not None:
            probability = probability * call.free[:, None]
            alive = call.free.sum().to(logits.dtype)
        index = torch.as_tensor(task, device=logits.device).expand(call.num_units)
        summed = probability.new_zeros(num_tasks, logits.shape[-1])
        summed = summed.index_add(0, index, probability)
        used = summed if used is None else used + summed
        total = total + alive
    if used is None:
        raise InputError("a mutual-information loss needs at least one routing")
    joint = used / (total + FLOOR)
    of_task = joint.sum(1, keepdim=True) + FLOOR
    of_expert = joint.sum(0, keepdim=True) + FLOOR
    return (joint * (joint / (of_task * of_expert) + FLOOR).log()).sum()


@configurable
class MutualInformation(Loss):
    """Minus `mutual_information`, so that training raises it.

    Args:
        weight: factor of the term; 5e-4 in most of Mod-Squad's configurations.
        num_tasks: T.
        over: see `mutual_information`.
    """

    name = "mutual_information"

    def __init__(self, weight: float = 5e-4, *, num_tasks: int, over: Over = "routed") -> None:
        super().__init__(weight)
        check_sizes(num_tasks=num_tasks)
        check_option("over", over, get_args(Over))
        self.num_tasks = num_tasks
        self.over: Over = over

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return -mutual_information(calls, self.num_tasks, over=self.over)
