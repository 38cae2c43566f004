"""The pre-norm Transformer block whose feed-forward layer is a mixture of experts."""

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.drop_path import DropPath
from mixtura.forecasting.networks.norms import NormKind, make_norm

# where the scales of dynamic tanhs begin in the released models
ATTENTION_ALPHA = 0.6
MIXTURE_ALPHA = 0.2


class MixtureBlock(nn.Module):
    """Self-attention, cross-attention if there is something to attend to, and the mixture."""

    def __init__(
        self,
        dim: int,
        attention: GroupedQueryAttention,
        mixture: nn.Module,
        *,
        cross_attention: GroupedQueryAttention | None = None,
        norm: NormKind = "rms",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = make_norm(norm, dim, alpha=ATTENTION_ALPHA)
        self.attention = attention
        self.cross_norm = None
        if cross_attention is not None:
            self.cross_norm = make_norm(norm, dim, alpha=ATTENTION_ALPHA)
        self.cross_attention = cross_attention
        self.mixture_norm = make_norm(norm, dim, alpha=MIXTURE_ALPHA)
        self.mixture = mixture
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        context: Float[Tensor, "batch tokens dim"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """`context` are covariate tokens; without them the cross-attention is skipped."""
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        if self.cross_attention is not None and self.cross_norm is not None and context is not None:
            x = x + self.drop_path(self.cross_attention(self.cross_norm(x), context))
        return x + self.drop_path(self.mixture(self.mixture_norm(x)))
