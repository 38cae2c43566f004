"""The fit of a mixture-model router."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.losses.per_unit import kept, mean_over_units
from mixtura.core.routing import Routing

__all__ = ["MixtureFit"]


@configurable
class MixtureFit(Loss):
    """Negative log-likelihood of the units plus `reconstruction` times the autoencoder's error.

    Its gradient reaches a `MixtureModelScore` and nothing else (arXiv 2510.16448).

    Args:
        weight: factor of the term.
        reconstruction: factor of the mean squared error.
        scope: per layer, or pooled.
    """

    name = "mixture_fit"

    def __init__(
        self, weight: float = 1.0, *, reconstruction: float = 1.0, scope: Scope = "layer"
    ) -> None:
        super().__init__(weight, scope)
        check_number("reconstruction", reconstruction, least=0)
        self.reconstruction = reconstruction

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""

        def term(call: Routing) -> Tensor:
            error = kept(call, "reconstruction", "MixtureModelScore")
            return kept(call, "nll", "MixtureModelScore") + self.reconstruction * error

        return mean_over_units(calls, term)
