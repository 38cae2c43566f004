"""Outputs of experts that were computed elsewhere."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing, combine

__all__ = ["ExternalExperts"]


@configurable
class ExternalExperts(Experts):
    """A unit *is* what the experts made of it: (experts, ..., dim). Only the gates are left to do.

    For networks whose experts are branches or feature maps made once and mixed many times, by the
    tasks of TaskExpert (arXiv 2307.15324) for example: `layer(outputs, route_on=features)`.

    Args:
        num_experts: E.
    """

    prefers_mix = True

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts)
        self.num_experts = num_experts

    def one(
        self, expert: int, rows: Float[Tensor, "rows experts *rest"]
    ) -> Float[Tensor, "rows *rest"]:
        """What one expert made."""
        self._check(rows)
        return rows[:, expert]

    def all(self, x: Float[Tensor, "units experts *rest"]) -> Float[Tensor, "units experts *rest"]:
        """The units themselves."""
        self._check(x)
        return x

    def mix(
        self, x: Float[Tensor, "units experts *rest"], routing: Routing
    ) -> Float[Tensor, "units *rest"]:
        """The weighted sum."""
        return combine(self.all(x), routing)

    def bind(self, routing: Routing) -> Callable[[Tensor], Tensor]:
        """The weighted sum for a fixed routing."""
        return lambda x: self.mix(x, routing)

    def _check(self, x: Tensor) -> None:
        if x.ndim < 2 or x.shape[1] != self.num_experts:
            raise InputError(
                f"expected the outputs of {self.num_experts} experts (units, experts, ...), got "
                f"{tuple(x.shape)}; compute them first"
            )
