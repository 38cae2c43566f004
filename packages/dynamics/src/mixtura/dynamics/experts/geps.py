"""GEPS: low-rank context-modulated weights."""

import itertools

import torch
from jaxtyping import Int
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.jets import Jet, softplus
from mixtura.dynamics.experts.perceptron import (
    Activation,
    Perceptron,
    Specialised,
    StackedMLP,
    check_depth,
    uniform,
)

__all__ = ["GEPS", "OfficialGEPS"]


@configurable
class GEPS(VectorFields):
    """`W + A diag(xi) B` in every layer, `b + A_b xi` for biases and Swish slopes.

    The form that MixER uses (Nzoyem et al., 2025, arXiv 2502.05335).

    Reference: Kassaï Koupaï et al., Boosting Generalization in Parametric PDE Neural Solvers
    through Adaptive Conditioning, 2024, arXiv 2410.23889.

    Args:
        num_experts: K.
        dim: state dimensions.
        context_dim: size of an environment's context.
        width: hidden width.
        depth: number of layers.
        activation: swish (with a learnable slope), relu, tanh or softplus.
        split_context: one chunk of the context per expert.
        shift_context: whether an expert adds its learnable scalar to every entry of its context.
        same_init: whether all experts start equal.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        context_dim: int,
        *,
        width: int = 64,
        depth: int = 3,
        activation: Activation = "swish",
        split_context: bool = True,
        shift_context: bool = True,
        same_init: bool = True,
    ) -> None:
        super().__init__(num_experts, dim, context_dim, split_context, shift_context)
        check_depth(depth)
        sizes = [dim, *[width] * (depth - 1), dim]
        self.root = StackedMLP(num_experts, sizes, activation, same_init)
        pairs = list(itertools.pairwise(sizes))
        rank, k = self.chunk_dim, num_experts
        self.left = nn.ParameterList(
            uniform((k, out, rank), out**-0.5, same_init) for _, out in pairs
        )
        self.right = nn.ParameterList(
            uniform((k, rank, wide), rank**-0.5, same_init) for wide, _ in pairs
        )
        self.left_bias = nn.ParameterList(
            uniform((k, out, rank), out**-0.5, same_init) for _, out in pairs
        )
        self.left_beta = nn.ParameterList(
            uniform((k, 1, rank), 1.0, same_init) for _ in self.root.betas
        )

    def specialise(self, context: Jet, expert: Int[Tensor, "assignments"]) -> Specialised:
        """Merge the update into the weights."""
        order = len(context) - 1
        merged = self.root.gathered(expert, order)
        for layer, (left, right) in enumerate(zip(self.left, self.right, strict=True)):
            a, b = left.index_select(0, expert), right.index_select(0, expert)
            update = [None if c is None else self.weight_update(a, b, c) for c in context]
            _accumulate(merged.weights[layer], update)
        for jets, lefts, change in (
            (merged.biases, self.left_bias, self.vector_update),
            (merged.betas, self.left_beta, self.slope_update),
        ):
            for jet, left in zip(jets, lefts, strict=True):
                a = left.index_select(0, expert)
                update = [None if c is None else change(a, c) for c in context]
                _accumulate(jet, update)
        return Specialised(self.finish(merged), order)

    def low_rank_parameters(self) -> list[nn.Parameter]:
        """What a context acts through."""
        return [*self.left, *self.right, *self.left_bias, *self.left_beta]

    def weight_update(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """`A diag(xi) B` (N, out, in)."""
        return torch.bmm(a * c[:, None], b)

    def vector_update(self, a: Tensor, c: Tensor) -> Tensor:
        """`A_b xi` (N, 1, out)."""
        return torch.bmm(a, c[:, :, None]).transpose(1, 2)

    def slope_update(self, a: Tensor, c: Tensor) -> Tensor:
        """The same for the slopes (N, 1, 1)."""
        return torch.bmm(a, c[:, :, None])

    def finish(self, merged: Perceptron) -> Perceptron:
        """What is left to do to merged weights: nothing."""
        return merged


@configurable
class OfficialGEPS(GEPS):
    """GEPS as its authors released it.

    Kaiming-uniform A and B, a `factor` on the update, and the activation
    `x sigmoid(x softplus(beta + w xi)) / 1.1` with beta = 0.5 at the start.

    Reference: Kassaï Koupaï et al., Boosting Generalization in Parametric PDE Neural Solvers
    through Adaptive Conditioning, 2024, arXiv 2410.23889.

    Args:
        num_experts: K.
        dim: state dimensions.
        context_dim: size of an environment's context.
        width: hidden width.
        depth: number of layers.
        factor: on the update of weights and biases; the released networks have 1.
        slope_factor: on the update of the slopes, the released networks' one factor; `factor` when
            not given.
        split_context: one chunk of the context per expert.
        shift_context: whether an expert adds its learnable scalar to every entry of its context.
        same_init: whether all experts start equal.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        context_dim: int,
        *,
        width: int = 64,
        depth: int = 3,
        factor: float = 1.0,
        slope_factor: float | None = None,
        split_context: bool = True,
        shift_context: bool = True,
        same_init: bool = True,
    ) -> None:
        super().__init__(
            num_experts,
            dim,
            context_dim,
            width=width,
            depth=depth,
            split_context=split_context,
            shift_context=shift_context,
            same_init=same_init,
        )
        self.factor = factor
        self.slope_factor = factor if slope_factor is None else slope_factor
        rank = self.chunk_dim
        with torch.no_grad():
            for left, right, bias in zip(self.left, self.right, self.left_bias, strict=True):
                # kaiming_uniform with a = sqrt(5) is uniform in +-1/sqrt(fan_in)
                wide = right.shape[2]
                for parameter, fan in ((left, rank), (right, wide), (bias, rank)):
                    drawn = uniform(tuple(parameter.shape), fan**-0.5, same_init)
                    parameter.copy_(drawn)
            for beta in self.root.betas:
                beta.fill_(0.5)

    def weight_update(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """`factor A diag(xi) B`."""
        return self.factor * super().weight_update(a, b, c)

    def vector_update(self, a: Tensor, c: Tensor) -> Tensor:
        """`factor A_b xi`."""
        return self.factor * super().vector_update(a, c)

    def slope_update(self, a: Tensor, c: Tensor) -> Tensor:
        """`slope_factor A_b xi`."""
        return self.slope_factor * super().slope_update(a, c)

    def finish(self, merged: Perceptron) -> Perceptron:
        """Softplus on the slopes; the 1/1.1 goes into the following layer."""
        merged.betas = [softplus(beta) for beta in merged.betas]
        merged.weights[1:] = [
            [None if w is None else w / 1.1 for w in jet] for jet in merged.weights[1:]
        ]
        return merged


def _accumulate(jet: Jet, update: Jet) -> None:
    for k, term in enumerate(update):
        if term is not None:
            known = jet[k]
            jet[k] = term if known is None else known + term
