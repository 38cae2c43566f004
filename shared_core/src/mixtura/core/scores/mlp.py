"""Scores by a small network: a gate with hidden layers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.experts.activations import activation_function
from mixtura.core.scores.base import Score
from mixtura.core.scores.precise_linear import precise_linear

__all__ = ["MLPScore"]


@configurable
class MLPScore(Score):
    """`z = W act(W_n ... act(W_1 x + b_1) ... + b_n) (+ b)`, computed in float32.

    The gate of MMoE (Ma et al., KDD 2018) has hidden layers of 64 in common implementations.

    Args:
        dim: width of what the router looks at.
        num_experts: number of logits.
        widths: of the hidden layers; none is a linear score.
        activation: behind each hidden layer.
        bias: whether each expert has an offset.
    """

    hidden: Sequence[nn.Linear]

    def __init__(
        self,
        dim: int,
        num_experts: int,
        widths: Sequence[int] = (64,),
        *,
        activation: str = "relu",
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        for width in widths:
            check_sizes(widths=width)
        self.dim = dim
        self.num_experts = num_experts
        layers = (nn.Linear(a, b) for a, b in pairwise([dim, *widths]))
        self.add_module("hidden", nn.ModuleList(layers))
        self.output = nn.Linear([dim, *widths][-1], num_experts, bias=bias)
        self.activation = activation_function(activation)

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit."""
        for layer in self.hidden:
            x = self.activation(precise_linear(x, layer.weight, layer.bias))
        return precise_linear(x, self.output.weight, self.output.bias), {}

    def expert_vectors(self) -> Float[Tensor, "routed width"]:
        """The rows of the last layer."""
        return self.output.weight
