"""Nothing is moved: every expert works on every unit, and the gates mix."""

from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["DenseAll"]


@register_dispatch("dense_all")
class DenseAll(Dispatch):
    """`experts.mix(x, routing)`: for dense mixtures, and for experts too thin to move rows for."""

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """The bank's own weighted sum."""
        return experts.mix(x, routing).to(x.dtype)
