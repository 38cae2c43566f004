"""The encoder layer of the dense baselines: normalisation after each residual sum."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.dropout import Dropout
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.attention import GroupedQueryAttention

Activation = Literal["gelu", "relu"]


class PostNormEncoderLayer(nn.Module):
    """`x = norm(x + attention(x)); x = norm(x + mlp(x))`, everything with biases.

    Reference: Vaswani et al., Attention is all you need, NeurIPS 2017.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden_dim: int,
        dropout: float = 0.0,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        if activation not in ("gelu", "relu"):
            raise InputError(f"activation must be 'gelu' or 'relu', got {activation!r}")
        self.activation = F.gelu if activation == "gelu" else F.relu
        self.attention = GroupedQueryAttention(dim, num_heads, out_bias=True, dropout=dropout)
        self.up = nn.Linear(dim, hidden_dim)
        self.down = nn.Linear(hidden_dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Bidirectional."""
        x = self.norm1(x + self.dropout(self.attention(x)))
        hidden = self.dropout(self.activation(self.up(x)))
        return self.norm2(x + self.dropout(self.down(hidden)))
