"""The encoder layer of PatchTST's authors: attention scores are handed from layer to layer."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.dropout import Dropout
from mixtura.core.errors import InputError

Scores = Float[Tensor, "batch heads tokens tokens"]


class ScorePassingEncoderLayer(nn.Module):
    """Attention on the scores of this layer plus those of the layer below; batch normalisation.

    The attention probabilities themselves are not dropped; the attention's output is, twice, as the
    authors do.

    References: Nie et al., A time series is worth 64 words, ICLR 2023 (arXiv 2211.14730); He et
    al., RealFormer, 2020 (arXiv 2012.11747), for the sum of scores.

    Args:
        dim: width of a token.
        num_heads: attention heads.
        hidden_dim: width of the feed-forward network.
        dropout: of the attention's output, the hidden units and the feed-forward output.
    """

    def __init__(self, dim: int, num_heads: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(
                f"dim must be divisible by num_heads, got dim {dim} and num_heads {num_heads}"
            )
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.o_proj = nn.Linear(dim, dim)
        self.norm1 = nn.BatchNorm1d(dim)
        self.up = nn.Linear(dim, hidden_dim)
        self.down = nn.Linear(hidden_dim, dim)
        self.norm2 = nn.BatchNorm1d(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], below: Scores | None = None
    ) -> tuple[Float[Tensor, "batch tokens dim"], Scores]:
        """The tokens, and the scores for the layer above.

        Args:
            x: tokens.
            below: scores of the layer below.
        """
        queries, keys, values = (
            project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = queries * queries.shape[-1] ** -0.5 @ keys.transpose(-2, -1)
        if below is not None:
            scores = scores + below
        mixed = self.o_proj((scores.softmax(-1) @ values).transpose(1, 2).flatten(-2))
        x = _normalise(self.norm1, x + self.dropout(self.dropout(mixed)))
        hidden = self.dropout(F.gelu(self.up(x)))
        return _normalise(self.norm2, x + self.dropout(self.down(hidden))), scores


def _normalise(
    norm: nn.BatchNorm1d, x: Float[Tensor, "batch tokens dim"]
) -> Float[Tensor, "batch tokens dim"]:
    """Batch normalisation of each feature over all tokens."""
    return norm(x.flatten(0, 1)).view_as(x)
