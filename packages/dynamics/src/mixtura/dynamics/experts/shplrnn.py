"""Hierarchical shallow piecewise-linear RNN: an expert in discrete time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import InputError, configurable
from mixtura.dynamics.experts import jets
from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.jets import Jet
from mixtura.dynamics.experts.perceptron import uniform

__all__ = ["Recurrence", "ShPLRNN"]


@dataclass
class Recurrence:
    """The settled weights of N recurrences, as jets in the context direction.

    Attributes:
        a: (N, dims, dims).
        w1: (N, dims, hidden).
        w2: (N, hidden, dims).
        h1: (N, 1, dims).
        h2: (N, 1, hidden).
        alpha: share of the model's own state in the input of a step, (N, 1, 1).
    """

    a: Jet
    w1: Jet
    w2: Jet
    h1: Jet
    h2: Jet
    alpha: Jet

    def __call__(self, x: Float[Tensor, "assignments rows dims"]) -> Tensor:
        """The states that follow `x`."""
        return jets.taylor_sum(self.step(self.constant(x)))

    def chain(self) -> None:
        """No layers for a solver: a map is not integrated."""
        return

    def step(self, z: Jet) -> Jet:
        """`A z + W1 relu(W2 z + h2) + h1`."""
        hidden = jets.relu(jets.affine(z, self.w2, self.h2))
        return jets.affine(hidden, self.w1, jets.affine(z, self.a, self.h1))

    def drive(
        self, x: Float[Tensor, "assignments rows times dims"], alpha: float | None = None
    ) -> Float[Tensor, "assignments rows times dims"]:
        """Outputs of the recurrence driven by observations, from the state zero.

        Args:
            x: observations.
            alpha: share of the model's own state in the input of every step; the model's own
                choice when not given.
        """
        share = self.alpha if alpha is None else self.constant(x.new_tensor([[[alpha]]]))
        z, outputs = self.constant(torch.zeros_like(x[:, :, 0])), []
        for observed in x.unbind(2):
            off = [jets.value(z) - observed, *z[1:]]
            z = self.step(jets.add(self.constant(observed), jets.product(share, off)))
            outputs.append(jets.taylor_sum(z))
        return torch.stack(outputs, 2)

    def constant(self, x: Tensor) -> Jet:
        """A jet that does not depend on the context."""
        return [x, *[None] * (len(self.a) - 1)]


@configurable
class ShPLRNN(VectorFields):
    """`z' = A z_in + W1 relu(W2 z_in + h2) + h1`, `z_in = alpha z + (1 - alpha) x`.

    One bias-free linear map per expert turns the context into A, W1, W2, h1, h2 and alpha, in this
    order. The latent state is the observed one. Without observations the model runs on its own
    output: it is a map from a sample to the next, which `Iteration` applies and which takes the
    place of a vector field everywhere. `SequenceObjective` trains it on observed inputs.

    References: Brenner et al., Learning Interpretable Hierarchical Dynamical Systems Models from
    Time Series Data, 2024, arXiv 2410.04814; Hess et al., Generalized Teacher Forcing for Learning
    Chaotic Dynamics, 2023, arXiv 2306.04406.

    Args:
        num_experts: K.
        dim: state dimensions.
        context_dim: size of an environment's context.
        hidden_dim: width of the shallow layer.
        diagonal: whether A is diagonal, as in the original model.
        alpha_min: least share of the model's own state in the input of a step (0 at alpha_min:
            teacher forcing; 1: free running).
        split_context: one chunk of the context per expert.
        shift_context: whether an expert adds its learnable scalar to every entry of its context.
        same_init: whether all experts start equal.
    """

    discrete = True

    def __init__(
        self,
        num_experts: int,
        dim: int,
        context_dim: int,
        *,
        hidden_dim: int = 32,
        diagonal: bool = False,
        alpha_min: float = 0.0,
        split_context: bool = False,
        shift_context: bool = True,
        same_init: bool = True,
    ) -> None:
        super().__init__(num_experts, dim, context_dim, split_context, shift_context)
        if hidden_dim < 1 or not 0 <= alpha_min <= 1:
            raise InputError(
                "hidden_dim must be at least 1 and alpha_min between 0 and 1, got "
                f"{hidden_dim} and {alpha_min}"
            )
        self.hidden_dim, self.diagonal = hidden_dim, diagonal
        self.alpha_min = alpha_min
        m, width = dim, hidden_dim
        self.sizes = [m if diagonal else m * m, m * width, width * m, m, width, 1]
        self.hyper = uniform(
            (num_experts, sum(self.sizes), self.chunk_dim), self.chunk_dim**-0.5, same_init
        )

    def specialise(self, context: Jet, expert: Int[Tensor, "assignments"]) -> Recurrence:
        """Produce the weights."""
        hyper = self.hyper.index_select(0, expert)
        flat = [None if c is None else torch.bmm(hyper, c[:, :, None])[..., 0] for c in context]
        pieces = [None if f is None else f.split(self.sizes, 1) for f in flat]
        a, w1, w2, h1, h2, alpha = (
            [None if piece is None else piece[part] for piece in pieces] for part in range(6)
        )
        m, width = self.dim, self.hidden_dim
        square = each(a, torch.diag_embed if self.diagonal else lambda v: v.view(-1, m, m))
        above = each(alpha, lambda v: v[..., None])
        above[0] = jets.value(above) - self.alpha_min
        above = jets.relu(above)
        above[0] = jets.value(above) + self.alpha_min
        return Recurrence(
            square,
            each(w1, lambda v: v.view(-1, m, width)),
            each(w2, lambda v: v.view(-1, width, m)),
            each(h1, lambda v: v[:, None]),
            each(h2, lambda v: v[:, None]),
            above,
        )


def each(jet: Jet, change) -> Jet:
    """A linear change of every entry that is there."""
    return [None if entry is None else change(entry) for entry in jet]
