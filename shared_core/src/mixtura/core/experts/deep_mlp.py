"""MLP experts of any depth, whose outputs may share one scale."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.activations import activation_function
from mixtura.core.experts.base import Experts
from mixtura.core.experts.stacked import init_per_expert
from mixtura.core.replay import replayed

__all__ = ["DeepMLPExperts"]

Norm = Literal["batch", "layer", "none"]


@configurable
class DeepMLPExperts(Experts):
    """`act_out(norm(W_n act(... act(W_1 u + b_1)) + b_n))`.

    `norm="batch", output_activation="silu"` is the expert of HoME (arXiv 2408.05430, section 4.1):
    the outputs of all experts have one scale, and none of them is mostly zeros. `norm="none",
    output_activation="relu"` is that of MMoE and PLE.

    In training a batch norm's statistics are those of the rows that an expert works on, which are
    all rows where the mixture is dense (`all`); at inference they are moving averages.

    Args:
        num_experts: E.
        dim: width of a row.
        widths: widths of the linear layers' outputs; the last one is that of the expert.
        activation: between the linear layers.
        output_activation: at the end.
        norm: before the last activation.
        momentum: of the batch norm's moving averages.
        eps: added to the variance.
    """

    norm_weight: nn.Parameter | None
    norm_bias: nn.Parameter | None
    running_mean: Float[Tensor, "experts out"]
    running_var: Float[Tensor, "experts out"]

    def __init__(
        self,
        num_experts: int,
        dim: int,
        widths: Sequence[int],
        *,
        activation: str = "relu",
        output_activation: str = "relu",
        norm: Norm = "none",
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if not widths:
            raise InputError("an MLP expert needs at least one layer, got no widths")
        check_sizes(num_experts=num_experts, dim=dim, **{"every width": min(widths)})
        check_option("norm", norm, get_args(Norm))
        check_number("momentum", momentum, least=0, most=1)
        check_number("eps", eps, above=0)
        self.dim = dim
        self.num_experts = num_experts
        self.activation = activation_function(activation)
        self.output_activation = activation_function(output_activation)
        self.norm: Norm = norm
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
        scale = None if norm == "none" else nn.Parameter(torch.ones(num_experts, sizes[-1]))
        shift = None if norm == "none" else nn.Parameter(torch.zeros(num_experts, sizes[-1]))
        self.register_parameter("norm_weight", scale)
        self.register_parameter("norm_bias", shift)
        if norm == "batch":
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
            hidden = self.activation(hidden) if layer else hidden
            hidden = torch.baddbmm(bias[experts, None], hidden, weight[experts].transpose(1, 2))
        if self.norm_weight is not None and self.norm_bias is not None:
            normal = self._normalise(hidden, experts)
            hidden = normal * self.norm_weight[experts, None] + self.norm_bias[experts, None]
        return self.output_activation(hidden).unflatten(1, rows.shape[1:-1])

    def _normalise(self, hidden: Tensor, experts: slice) -> Tensor:
        if self.norm == "layer":
            variance, mean = torch.var_mean(hidden, -1, correction=0, keepdim=True)
        elif self.training:
            variance, mean = self._batch_statistics(hidden, experts)
        else:
            variance, mean = self.running_var[experts, None], self.running_mean[experts, None]
        return (hidden - mean) * torch.rsqrt(variance + self.eps)

    def _batch_statistics(self, hidden: Tensor, experts: slice) -> tuple[Tensor, Tensor]:
        count = hidden.shape[1]
        if count == 1:
            raise InputError(
                "batch statistics need at least two rows for an expert, got one; leave out the "
                "last small batch, or take norm='layer'"
            )
        if count == 0:
            return hidden.new_ones(hidden.shape[0], 1, 1), hidden.new_zeros(hidden.shape[0], 1, 1)
        variance, mean = torch.var_mean(hidden, 1, correction=0, keepdim=True)
        if replayed(hidden) is not True:
            with torch.no_grad():
                unbiased = variance[:, 0] * (count / (count - 1))
                self.running_mean[experts].lerp_(mean[:, 0], self.momentum)
                self.running_var[experts].lerp_(unbiased, self.momentum)
        return variance, mean
