"""Shared experts: work that is done for every unit, beside the routed experts."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.experts.base import Experts

__all__ = ["OutputBias", "SharedExpert"]


@configurable
class SharedExpert(nn.Module):
    """`gate * module(x)`, where the gate is sigmoid(w . x) (Qwen2-MoE), a fixed number, or absent.

    The view says what `x` is: each row, the whole unit flattened (Seg-MoE), or the layer's input as
    it came, sequence structure included (MoHETS' convolution along the sequence).

    DeepSeekMoE (arXiv 2401.06066), whose several shared experts are one of their joint width; with
    the gate Qwen2-MoE (arXiv 2407.10671).

    Args:
        module: the expert, or a bank of experts whose outputs are added.
        gate_dim: width of what the sigmoid gate sees; no gate when not given.
        factor: fixed weight of the shared output (RMoE mixes both halves with 0.5).
        view: what the expert works on.
    """

    def __init__(
        self,
        module: nn.Module | Experts,
        *,
        gate_dim: int | None = None,
        factor: float = 1.0,
        view: Literal["row", "unit", "input"] = "row",
    ) -> None:
        super().__init__()
        check_sizes(gate_dim=gate_dim)
        check_number("factor", factor)
        check_option("view", view, ("row", "unit", "input"))
        self.module = module
        self.gate = None if gate_dim is None else nn.Linear(gate_dim, 1, bias=False)
        self.factor = factor
        self.view = view
        if self.gate is not None:
            nn.init.xavier_uniform_(self.gate.weight)

    def forward(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows out"]:
        """The gated output for rows of the chosen view."""
        if self.view == "unit" and x.ndim > 2:
            flat = x.flatten(1)
            return self._gated(flat).view(*x.shape[:-1], -1)
        return self._gated(x)

    def _gated(self, x: Tensor) -> Tensor:
        y = self._work(x)
        if self.gate is not None:
            y = torch.sigmoid(self.gate(x)) * y
        return y if self.factor == 1.0 else self.factor * y

    def _work(self, x: Tensor) -> Tensor:
        if not isinstance(self.module, Experts):
            return self.module(x)
        if self.module.num_experts == 1:
            return self.module.one(0, x)
        return self.module.all(x).sum(1)


@configurable
class OutputBias(nn.Module):
    """One learned vector for every row: a shared expert that adds an offset.

    An option of the layerwise recurrent router (arXiv 2408.06793).

    Args:
        dim: width of an output row.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_sizes(dim=dim)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows out"]:
        """The vector, once for each row."""
        return self.bias.to(x.dtype).expand(*x.shape[:-1], -1)
