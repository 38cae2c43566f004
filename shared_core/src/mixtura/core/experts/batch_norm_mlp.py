"""MLP experts whose outputs share one scale."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.experts.mlp import check_sizes
from mixtura.core.experts.stacked import init_per_expert
from mixtura.core.replay import replayed

__all__ = ["BatchNormMLPExperts"]


@configurable
class BatchNormMLPExperts(Experts):
    """`swish(norm(W_n relu(... relu(W_1 u + b_1)) + b_n))`, the expert of HoME.

    A stack of linear layers with ReLU between them and none at the end, a batch norm and Swish
    `u sigmoid(u)`: the outputs of all experts have one scale, and none of them is mostly zeros
    (HoME, arXiv 2408.05430, section 4.1).

    In training the statistics are those of the rows that an expert works on, which are all rows
    where the mixture is dense (`all`); at inference they are moving averages.

    Args:
        num_experts: E.
        dim: width of a row.
        widths: widths of the linear layers' outputs; the last one is that of the expert.
        momentum: of the moving averages.
        eps: added to the variance.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        widths: Sequence[int],
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if not widths:
            raise InputError("an MLP expert needs at least one layer, got widths of none")
        check_sizes(num_experts=num_experts, dim=dim, **{"every width": min(widths)})
        self.num_experts = num_experts
        self.momentum = momentum
        self.eps = eps
        sizes = [dim, *widths]
        self.weight = nn.ParameterList(
            nn.Parameter(torch.empty(num_experts, sizes[i + 1], sizes[i]))
            for i in range(len(widths))
        )
        self.bias = nn.ParameterList(
            nn.Parameter(torch.zeros(num_experts, width)) for width in widths
        )
        self.norm_weight = nn.Parameter(torch.ones(num_experts, sizes[-1]))
        self.norm_bias = nn.Parameter(torch.zeros(num_experts, sizes[-1]))
        self.register_buffer("running_mean", torch.zeros(num_experts, sizes[-1]))
        self.register_buffer("running_var", torch.ones(num_experts, sizes[-1]))
        for matrix in self.weight:
            init_per_expert(matrix)

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one expert, normalised over these rows in training."""
        return self._compute(rows[None], slice(expert, expert + 1))[0]

    def batched(
        self, rows: Float[Tensor, "experts rows *rest"]
    ) -> Float[Tensor, "experts rows *out"]:
        """Outputs when every expert has the same number of rows: batched matrix products."""
        return self._compute(rows, slice(None))

    def all(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "units experts *out"]:
        """Output of every expert for every unit, normalised over all units in training."""
        return self.batched(x.expand(self.num_experts, *x.shape)).transpose(0, 1)

    def _compute(self, rows: Tensor, experts: slice) -> Tensor:
        hidden = rows.flatten(1, -2)
        for layer, (weight, bias) in enumerate(zip(self.weight, self.bias, strict=True)):
            hidden = torch.relu(hidden) if layer else hidden
            hidden = torch.baddbmm(bias[experts, None], hidden, weight[experts].transpose(1, 2))
        normal = self._normalise(hidden, experts)
        affine = normal * self.norm_weight[experts, None] + self.norm_bias[experts, None]
        return F.silu(affine).unflatten(1, rows.shape[1:-1])

    def _normalise(self, hidden: Tensor, experts: slice) -> Tensor:
        if not self.training:
            mean, variance = self.running_mean[experts, None], self.running_var[experts, None]
            return (hidden - mean) * torch.rsqrt(variance + self.eps)
        count = hidden.shape[1]
        if count == 1:
            raise InputError(
                "batch statistics need at least two rows for an expert, got one; leave out "
                "the last small batch"
            )
        variance, mean = torch.var_mean(hidden, 1, correction=0, keepdim=True)
        if count and replayed(hidden) is not True:
            with torch.no_grad():
                unbiased = variance[:, 0] * (count / (count - 1))
                self.running_mean[experts].lerp_(mean[:, 0].detach(), self.momentum)
                self.running_var[experts].lerp_(unbiased.detach(), self.momentum)
        return (hidden - mean) * torch.rsqrt(variance + self.eps)
