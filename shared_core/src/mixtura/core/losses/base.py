"""What every auxiliary loss is."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import to_config
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing

__all__ = ["Loss", "Scope"]

Scope = Literal["layer", "model"]


class Loss:
    """A pure function of the routings of one layer, or of a model whose layers are pooled first.

    Attributes:
        name: under which the term is logged.
        weight: factor of the term in the training loss.
        scope: whether each layer has its own term or all layers together have one.
        needs: what a layer has to leave in a routing for this loss besides the decision itself:
            `rows`, what the router looked at; `outputs`, what the experts made of them.

    Args:
        weight: factor of the term.
        scope: `layer` or `model`.
    """

    name: str
    needs: frozenset[str] = frozenset()

    def __init__(self, weight: float, scope: Scope = "layer") -> None:
        if weight < 0:
            raise InputError(f"the weight of a loss must not be negative, got {weight}")
        if scope not in ("layer", "model"):
            raise InputError(f"the scope of a loss is layer or model, got {scope!r}")
        self.weight = weight
        self.scope: Scope = scope

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss of these routings, float32."""
        raise NotImplementedError

    def key(self) -> tuple:
        """Equal for losses that mean the same, so that layers can be pooled."""
        return (type(self), repr(to_config(self)))
