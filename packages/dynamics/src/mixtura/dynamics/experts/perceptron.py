"""Perceptrons with weights stacked over experts, and their evaluation once specialised.

Shape letters: K experts, N assignments (one environment at one expert), n rows of an assignment.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import InputError
from mixtura.dynamics.experts import jets
from mixtura.dynamics.experts.jets import Jet
from mixtura.dynamics.solvers.adjoint import Chain

__all__ = ["Activation", "Perceptron", "Specialised", "StackedMLP", "check_depth"]

Activation = Literal["swish", "relu", "tanh", "softplus"]

PLAIN = {"relu": F.relu, "tanh": torch.tanh, "softplus": F.softplus}
JETS = {"relu": jets.relu, "tanh": jets.tanh, "softplus": jets.softplus}


@dataclass
class Perceptron:
    """Weights of N perceptrons, one per assignment, as jets in the context direction.

    Attributes:
        weights: per layer (N, out, in).
        biases: per layer (N, 1, out).
        betas: slope of the Swish after each layer but the last, (N, 1, 1); empty otherwise.
        activation: between the layers.
    """

    weights: list[Jet]
    biases: list[Jet]
    betas: list[Jet]
    activation: Activation

    def __call__(self, x: Float[Tensor, "assignments rows in"]) -> Tensor:
        """Output (N, n, out) at order 0."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(jets.value(bias), x, jets.value(weight).transpose(1, 2))
            if layer < len(self.weights) - 1:
                if self.betas:
                    x = x * torch.sigmoid(jets.value(self.betas[layer]) * x)
                else:
                    x = PLAIN[self.activation](x)
        return x

    def jet(self, x: Jet) -> Jet:
        """Jet of the output for a jet of the input."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = jets.affine(x, weight, bias)
            if layer < len(self.weights) - 1:
                x = jets.swish(x, self.betas[layer]) if self.betas else JETS[self.activation](x)
        return x


@dataclass
class Specialised:
    """Vector fields with their weights settled, one per assignment.

    Attributes:
        perceptron: from the states, or from the output of `first`, to the derivatives.
        order: Taylor order in the context.
        first: what the states pass beforehand; it does not depend on the context.
    """

    perceptron: Perceptron
    order: int
    first: Perceptron | None = None

    def __call__(self, x: Float[Tensor, "assignments rows dims"]) -> Tensor:
        """dx/dt (N, n, D) of the states `x`."""
        if self.first is not None:
            x = self.first(x)
        if self.order == 0:
            return self.perceptron(x)
        return jets.taylor_sum(self.perceptron.jet([x] + [None] * self.order))

    def chain(self) -> Chain | None:
        """The layers one after the other, for a solver; None where the field is expanded."""
        if self.order:
            return None
        weights, biases, betas, activations = [], [], [], []
        for network in (self.first, self.perceptron):
            if network is None:
                continue
            hidden = len(network.weights) - 1
            weights += [jet[0] for jet in network.weights]
            biases += [jet[0] for jet in network.biases]
            betas += [jet[0] for jet in network.betas] or [None] * hidden
            betas.append(None)
            activations += [network.activation] * hidden + [None]
        return Chain(weights, biases, betas, activations)


class StackedMLP(nn.Module):
    """K perceptrons of the same sizes: weights (K, out, in), biases (K, out), Swish slopes (K).

    Args:
        num_experts: K.
        sizes: widths from input to output.
        activation: between the layers.
        same_init: whether all experts start from the same weights.
    """

    def __init__(
        self,
        num_experts: int,
        sizes: Sequence[int],
        activation: Activation = "swish",
        same_init: bool = True,
    ) -> None:
        super().__init__()
        if activation not in (*PLAIN, "swish"):
            raise InputError(
                f"activation must be swish, relu, tanh or softplus, got {activation!r}"
            )
        self.num_experts, self.sizes = num_experts, tuple(sizes)
        self.activation: Activation = activation
        pairs = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(
            uniform((num_experts, out, wide), wide**-0.5, same_init) for wide, out in pairs
        )
        self.biases = nn.ParameterList(
            uniform((num_experts, out), wide**-0.5, same_init) for wide, out in pairs
        )
        slope = torch.empty(()).uniform_(0.01, 1.0).item()
        hidden = len(pairs) - 1 if activation == "swish" else 0
        self.betas = nn.ParameterList(
            nn.Parameter(torch.full((num_experts,), slope)) for _ in range(hidden)
        )
        if hidden and not same_init:
            drawn = torch.empty(num_experts).uniform_(0.01, 1.0)
            for beta in self.betas:
                beta.data.copy_(drawn)

    def gathered(self, expert: Int[Tensor, "assignments"], order: int = 0) -> Perceptron:
        """The perceptrons of the given experts, constant in the context."""
        rest: list[None] = [None] * order
        return Perceptron(
            [[w.index_select(0, expert), *rest] for w in self.weights],
            [[b.index_select(0, expert)[:, None], *rest] for b in self.biases],
            [[s.index_select(0, expert)[:, None, None], *rest] for s in self.betas],
            self.activation,
        )


def uniform(shape: tuple[int, ...], bound: float, same: bool) -> nn.Parameter:
    """Uniform in +-bound; with `same` the first axis repeats one draw."""
    drawn = torch.empty(shape[1:] if same else shape).uniform_(-bound, bound)
    return nn.Parameter(drawn.expand(shape).clone() if same else drawn)


def check_depth(depth: int) -> None:
    """Refuse perceptrons of a single layer: they would be linear in the state."""
    if depth < 2:
        raise InputError(f"depth counts all layers and must be at least 2, got {depth}")
