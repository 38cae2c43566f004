"""Hierarchical shallow piecewise-linear RNN: a discrete-time expert for sequences."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import InputError, Routing, configurable
from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.perceptron import uniform

__all__ = ["ShPLRNN"]


@configurable
class ShPLRNN(VectorFields):
    """`z' = A z_in + W1 relu(W2 z_in + h2) + h1`, `z_in = alpha z + (1 - alpha) x`, from z = 0.

    One bias-free linear map per expert turns the context into A, W1, W2, h1, h2 and alpha, in this
    order. The latent state is the observed one.

    Brenner et al., Learning Interpretable Hierarchical Dynamical Systems Models from Time Series
    Data, 2024, arXiv 2410.04814; Hess et al., Generalized Teacher Forcing for Learning Chaotic
    Dynamics, 2023, arXiv 2306.04406.

    Args:
        num_experts: K.
        dim: state dimensions.
        context_dim: size of an environment's context.
        hidden_dim: width of the shallow layer.
        diagonal: whether A is diagonal, as in the original model.
        alpha_min: least share of the model's own state in the input of a step (0 at alpha_min:
            teacher forcing; 1: free running).
        split_context: one chunk of the context per expert.
        same_init: whether all experts start equal.
    """

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
        same_init: bool = True,
    ) -> None:
        super().__init__(num_experts, dim, context_dim, split_context)
        self.hidden_dim, self.diagonal = hidden_dim, diagonal
        self.alpha_min = alpha_min
        m, width = dim, hidden_dim
        self.sizes = [m if diagonal else m * m, m * width, width * m, m, width, 1]
        self.hyper = uniform(
            (num_experts, sum(self.sizes), self.chunk_dim), self.chunk_dim**-0.5, same_init
        )

    def bind(
        self,
        routing: Routing,
        contexts: Float[Tensor, "units context"] | None = None,
        expansion: Float[Tensor, "units context"] | None = None,
        order: int = 0,
    ) -> Callable[[Tensor], Tensor]:
        """The sequence map of all environments: observed (units, n, times, dims) to predicted.

        With a Taylor order of 1 or 2 the *weights* are expanded; they are linear in the context, so
        that the expansion equals order 0.
        """
        del expansion, order
        if routing.choices != 1 or routing.may_be_invalid:
            raise InputError("a recurrent expert needs exactly one expert per environment")
        if contexts is None:
            contexts = self.context_shift.new_zeros(routing.num_units, self.context_dim)
        weights = self.weights_of(contexts, routing.expert)

        def bound(x: Tensor) -> Tensor:
            return self.unroll(weights, x) * routing.weight.to(x.dtype).view(-1, 1, 1, 1)

        return bound

    def weights_of(
        self,
        contexts: Float[Tensor, "assignments context"],
        expert: Int[Tensor, "assignments"],
    ) -> tuple[Tensor, ...]:
        """A, W1, W2, h1, h2 and alpha of each environment."""
        shift = self.context_shift.index_select(0, expert)[:, None]
        chunk = self.chunk(contexts, expert) + shift
        flat = torch.bmm(self.hyper.index_select(0, expert), chunk[:, :, None])[..., 0]
        a, w1, w2, h1, h2, alpha = flat.split(self.sizes, 1)
        m, width = self.dim, self.hidden_dim
        square = torch.diag_embed(a) if self.diagonal else a.view(-1, m, m)
        return (
            square,
            w1.view(-1, m, width),
            w2.view(-1, width, m),
            h1[:, None],
            h2[:, None],
            alpha.clamp_min(self.alpha_min)[:, None],
        )

    def unroll(
        self, weights: tuple[Tensor, ...], x: Float[Tensor, "units n times dims"]
    ) -> Float[Tensor, "units n times dims"]:
        """All outputs of the recurrence, driven by `x`."""
        a, w1, w2, h1, h2, alpha = weights
        z = torch.zeros_like(x[:, :, 0])
        outputs = []
        for observed in x.unbind(2):
            entered = alpha * z + (1 - alpha) * observed
            hidden = torch.relu(torch.baddbmm(h2, entered, w2.transpose(1, 2)))
            z = torch.baddbmm(h1, entered, a.transpose(1, 2))
            z = torch.baddbmm(z, hidden, w1.transpose(1, 2))
            outputs.append(z)
        return torch.stack(outputs, 2)

    def free_run(
        self,
        routing: Routing,
        contexts: Float[Tensor, "units context"],
        x0: Float[Tensor, "units n dims"],
        steps: int,
    ) -> Float[Tensor, "units n times dims"]:
        """`steps` states that follow `x0` when the model runs on its own output."""
        a, w1, w2, h1, h2, _ = self.weights_of(contexts, routing.expert)
        ones = torch.ones_like(h1[..., :1])
        z, outputs = x0, []
        for _ in range(steps):
            z = self.unroll((a, w1, w2, h1, h2, 0 * ones), z[:, :, None])[:, :, 0]
            outputs.append(z)
        return torch.stack(outputs, 2)
