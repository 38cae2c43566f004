"""CoDA: a linear hypernetwork from the context to all weights."""

import itertools

import torch
from jaxtyping import Int
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.jets import Jet, value
from mixtura.dynamics.experts.perceptron import (
    Activation,
    Perceptron,
    Specialised,
    StackedMLP,
    check_depth,
    uniform,
)

__all__ = ["CoDA"]


@configurable
class CoDA(VectorFields):
    """`theta + H xi` for all weights, biases and Swish slopes of a perceptron.

    Flat order: layer 0 weight (row by row), bias, Swish slope, layer 1 weight, and so on.

    Reference: Kirchmeyer et al., Generalizing to New Physical Systems via Context-Informed Dynamics
    Model, 2022, arXiv 2202.01889.

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
        root = StackedMLP(num_experts, sizes, activation, same_init)
        self.activation: Activation = activation
        self.pairs = list(itertools.pairwise(sizes))
        self.root = nn.Parameter(torch.cat(self._flat(root), 1))
        self.hyper = uniform(
            (num_experts, self.root.shape[1], self.chunk_dim), self.chunk_dim**-0.5, same_init
        )

    def specialise(self, context: Jet, expert: Int[Tensor, "assignments"]) -> Specialised:
        """Produce the weights."""
        hyper = self.hyper.index_select(0, expert)
        flat = [None if c is None else torch.bmm(hyper, c[:, :, None])[..., 0] for c in context]
        flat[0] = value(flat) + self.root.index_select(0, expert)
        first = self._unflatten(value(flat))
        pieces = [first, *(None if f is None else self._unflatten(f) for f in flat[1:])]

        def jets(kind: int) -> list[Jet]:
            return [
                [None if p is None else p[kind][layer] for p in pieces]
                for layer in range(len(first[kind]))
            ]

        perceptron = Perceptron(jets(0), jets(1), jets(2), self.activation)
        return Specialised(perceptron, len(context) - 1)

    def low_rank_parameters(self) -> list[nn.Parameter]:
        """What a context acts through."""
        return [self.hyper]

    def _flat(self, root: StackedMLP) -> list[Tensor]:
        parts = []
        for layer, (weight, bias) in enumerate(zip(root.weights, root.biases, strict=True)):
            parts += [weight.data.flatten(1), bias.data]
            if layer < len(root.betas):
                parts.append(root.betas[layer].data[:, None])
        return parts

    def _unflatten(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        weights, biases, betas, start = [], [], [], 0
        for layer, (wide, out) in enumerate(self.pairs):
            weights.append(flat[:, start : start + wide * out].view(-1, out, wide))
            start += wide * out
            biases.append(flat[:, None, start : start + out])
            start += out
            if self.activation == "swish" and layer < len(self.pairs) - 1:
                betas.append(flat[:, start : start + 1, None])
                start += 1
        return weights, biases, betas
