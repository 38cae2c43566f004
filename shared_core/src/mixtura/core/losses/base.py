"""What every auxiliary loss is."""

from collections.abc import Sequence
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_number, check_option
from mixtura.core.configuration import to_config
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
        reads_shares: whether the scores are read as shares of a unit, which plain logits are not.
        probe: experts to add to the chosen ones of some units, whose outputs the loss then sees
            beside theirs; none in general.
        probe_share: part of the units that are probed.

    Args:
        weight: factor of the term.
        scope: `layer` or `model`.
    """

    name: str
    needs: frozenset[str] = frozenset()
    reads_shares: bool = False
    probe: int = 0
    probe_share: float = 1.0

    def __init__(self, weight: float, scope: Scope = "layer") -> None:
        check_number("the weight of a loss", weight, least=0)
        check_option("the scope of a loss", scope, get_args(Scope))
        self.weight = weight
        self.scope: Scope = scope

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss of these routings, float32."""
        raise NotImplementedError

    def key(self) -> tuple:
        """Equal for losses that mean the same, so that layers can be pooled."""
        return (type(self), repr(to_config(self)))
