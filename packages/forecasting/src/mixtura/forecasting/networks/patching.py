"""From a series to patch tokens."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.dropout import Dropout
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.norms import RMSNorm

EmbeddingNorm = Literal["layer", "rms"]


class PatchEmbedding(nn.Module):
    """Non-overlapping patches of a series, each projected to a token, then normalised.

    The `layer` norm is one group over the tokens and dimensions of a sequence together (affine per
    dimension), so its statistics depend on the number of patches; the `rms` norm looks at each
    token alone.
    """

    def __init__(
        self, patch_width: int, dim: int, *, norm: EmbeddingNorm = "layer", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if norm not in ("layer", "rms"):
            raise InputError(f"embedding norm must be 'layer' or 'rms', got {norm!r}")
        self.patch_width = patch_width
        self.project = nn.Conv1d(1, dim, patch_width, stride=patch_width, bias=False)
        nn.init.xavier_uniform_(self.project.weight)
        self.norm = nn.GroupNorm(1, dim) if norm == "layer" else RMSNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "series time"]) -> Float[Tensor, "series patches dim"]:
        """Tokens of every series, the oldest first.

        Raises:
            InputError: when the length is not a multiple of the patch width.
        """
        if x.shape[-1] % self.patch_width:
            raise InputError(
                f"a look-back must be a multiple of the patch width {self.patch_width}, got "
                f"{x.shape[-1]} points; drop the oldest {x.shape[-1] % self.patch_width}"
            )
        tokens = self.project(x.unsqueeze(1))
        if isinstance(self.norm, RMSNorm):
            return self.dropout(self.norm(tokens.transpose(1, 2)))
        return self.dropout(self.norm(tokens)).transpose(1, 2)
