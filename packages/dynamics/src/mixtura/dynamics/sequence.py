"""MixER for sequences: recurrent experts, one context per subject."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core import MoELayer, Router, Routing, configurable
from mixtura.core.selections import Selection
from mixtura.dynamics.experts import ShPLRNN
from mixtura.dynamics.gate import ContextScore, HardTop

__all__ = ["SequenceMixER"]


@configurable
class SequenceMixER(nn.Module):
    """A mixture of hierarchical shallow PLRNNs; a routing is computed once per subject.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335; Brenner et al., 2024, arXiv 2410.04814.

    Args:
        experts: the recurrences.
        num_environments: subjects.
        selection: `HardTop` when not given.
        gate_bias: whether the gate has an offset.
        next_step: compare the prediction at t with the observation at t + 1. The published model
            compares it with the observation at t, which lets it copy its input.
    """

    def __init__(
        self,
        experts: ShPLRNN,
        num_environments: int,
        selection: Selection | None = None,
        gate_bias: bool = True,
        next_step: bool = True,
    ) -> None:
        super().__init__()
        self.score = ContextScore(experts.context_dim, experts.num_experts, gate_bias)
        router = Router(self.score, HardTop() if selection is None else selection)
        self.layer = MoELayer(router, experts)
        self.contexts = nn.Parameter(1e-2 * torch.randn(num_environments, experts.context_dim))
        self.next_step = next_step

    @property
    def experts(self) -> ShPLRNN:
        """The recurrences."""
        experts = self.layer.experts
        assert isinstance(experts, ShPLRNN)
        return experts

    def route(self, forced: Int[Tensor, "environments"] | None = None) -> Routing:
        """Expert of each subject."""
        return self.layer.route(self.contexts, forced=forced)

    def forward(
        self,
        x: Float[Tensor, "environments n times dims"],
        forced: Int[Tensor, "environments"] | None = None,
    ) -> Float[Tensor, "environments n times dims"]:
        """Predictions driven by the observations."""
        return self.experts.bind(self.route(forced), self.contexts)(x)

    def losses(
        self,
        x: Float[Tensor, "environments n times dims"],
        forced: Int[Tensor, "environments"] | None = None,
    ) -> Float[Tensor, "environments"]:
        """Mean squared error of each subject."""
        predicted = self.forward(x, forced)
        if self.next_step:
            return (predicted[:, :, :-1] - x[:, :, 1:]).square().mean((1, 2, 3))
        return (predicted - x).square().mean((1, 2, 3))
