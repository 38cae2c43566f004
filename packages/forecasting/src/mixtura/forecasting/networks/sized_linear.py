"""Linear maps whose weights depend on the patch width of a token."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core.errors import InputError

__all__ = ["SizedLinear"]


class SizedLinear(nn.Module):
    """One weight matrix per patch width, all stored at the width of the largest.

    Args:
        sizes: patch widths.
        in_dim: inputs per token; None for a patch of values.
        out_dim: outputs per token; None for `params` numbers per value of the patch.
        params: numbers per value.
    """

    def __init__(
        self, sizes: Sequence[int], in_dim: int | None, out_dim: int | None, params: int = 1
    ) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        wide_in = max(sizes) if in_dim is None else in_dim
        wide_out = max(sizes) * params if out_dim is None else out_dim
        self.weight = nn.Parameter(torch.zeros(len(sizes), wide_out, wide_in))
        self.bias = nn.Parameter(torch.zeros(len(sizes), wide_out))
        mask = torch.zeros(len(sizes), wide_out, wide_in)
        for number, size in enumerate(sizes):
            rows = size * params if out_dim is None else out_dim
            columns = size if in_dim is None else in_dim
            mask[number, :rows, :columns] = 1
            used = self.weight.data[number, :rows, :columns]
            nn.init.uniform_(used, -1 / math.sqrt(columns), 1 / math.sqrt(columns))
            nn.init.uniform_(
                self.bias.data[number, :rows], -1 / math.sqrt(columns), 1 / math.sqrt(columns)
            )
        self.register_buffer("mask", mask, persistent=False)

    def forward(
        self, x: Float[Tensor, "batch tokens in"], size: Int[Tensor, "batch tokens"] | int
    ) -> Float[Tensor, "batch tokens out"]:
        """Each token by the matrix of its patch width.

        Raises:
            InputError: for a width that there is no matrix for.
        """
        weight = self.weight * self.get_buffer("mask")
        if isinstance(size, int):
            if size not in self.sizes:
                raise InputError(
                    f"the model knows the patch widths {list(self.sizes)}, got {size}; choose one"
                )
            number = self.sizes.index(size)
            return x @ weight[number].mT + self.bias[number]
        outputs = [
            (size == known).unsqueeze(-1) * (x @ weight[number].mT + self.bias[number])
            for number, known in enumerate(self.sizes)
        ]
        return torch.stack(outputs).sum(0)
