"""A mixture of attention layers."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.experts.attention import AttentionExperts
from mixtura.core.experts.external import ExternalExperts
from mixtura.core.layer import MoELayer
from mixtura.core.router import Router
from mixtura.core.units import SampleUnits

__all__ = ["AttentionMixture"]


@configurable
class AttentionMixture(nn.Module):
    """`sum_i r_i(x) Attention_i(x)` with weights for each token (BAM, arXiv 2408.08274, eq. 4).

    All experts attend, so the router takes all of them: `Router(LinearScore(dim, E), All())`. A
    parallel block adds its output and that of a feed-forward mixture to the residual stream.

    Args:
        router: the gates, one decision per token.
        experts: the attention layers.
    """

    def __init__(self, router: Router, experts: AttentionExperts) -> None:
        super().__init__()
        self.experts = experts
        gated = ExternalExperts(experts.num_experts)
        self.gates = MoELayer(router, gated, units=SampleUnits(pool="none"))

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        mask: Bool[Tensor, "batch tokens"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "batch tokens dim"]:
        """The mixture; arguments as for the experts."""
        outputs = self.experts(x, mask, causal=causal).flatten(0, 1)
        return self.gates(outputs, route_on=x.flatten(0, 1)).view_as(x)
