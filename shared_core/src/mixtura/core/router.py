"""The router: a score function, an activation and a selection."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.forcing import force
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection

__all__ = ["Activation", "Router", "activate"]

Activation = Literal["softmax", "sigmoid", "relu", "identity"]


@configurable
class Router(nn.Module):
    """Who decides: logits from `score`, scores from `activation`, a routing from `selection`.

    Everything is computed in float32, whatever the precision around.

    Args:
        score: the score function.
        selection: how scores become a routing.
        activation: from logits to scores.
        temperature: the logits are divided by it.
        dropout: probability with which a score is zeroed in training (the rest is scaled up, so
            the scores of a unit then do not sum to 1; Seg-MoE, arXiv 2601.21641).
        reserved: experts behind the routed ones, without a logit, reached only when forced.
    """

    def __init__(
        self,
        score: Score,
        selection: Selection,
        *,
        activation: Activation = "softmax",
        temperature: float = 1.0,
        dropout: float = 0.0,
        reserved: int = 0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise InputError(f"temperature must be positive, got {temperature}")
        if not 0 <= dropout < 1:
            raise InputError(f"router dropout must be in [0, 1), got {dropout}")
        self.score_function = score
        self.selection = selection
        self.activation: Activation = activation
        self.temperature = temperature
        self.dropout = dropout
        self.reserved = reserved

    @property
    def num_experts(self) -> int:
        """Experts that can be reached, reserved ones included."""
        return self.score_function.num_experts + self.reserved

    def score(
        self, x: Float[Tensor, "units dim"], *, num_samples: int = 1, **context: Any
    ) -> Scored:
        """Logits and scores of every unit.

        Args:
            x: what the router looks at.
            num_samples: samples that the units come from, in equal shares and in order.
            **context: passed on to the score function (`task`, `state`, ...).
        """
        ignored = sorted(context.keys() - self.score_function.context)
        if ignored:
            raise InputError(
                f"{type(self.score_function).__name__} does not look at {', '.join(ignored)}; "
                "leave it out or choose a score function that does"
            )
        logits, aux = self.score_function(x, **context)
        if self.temperature != 1.0:
            logits = logits / self.temperature
        scores = activate(logits, self.activation)
        if self.dropout:
            scores = F.dropout(scores, self.dropout, self.training)
        return Scored(logits, scores, aux, num_samples)

    def decide(
        self,
        scored: Scored,
        *,
        forced: Int[Tensor, "units"] | None = None,
        mask: Bool[Tensor, "units"] | None = None,
    ) -> Routing:
        """The routing that follows from the scores.

        Args:
            scored: what `score` returned.
            forced: expert that a unit must go to with weight 1, or -1 to route freely.
            mask: units that exist; the others get no assignment.
        """
        free = mask
        if forced is not None:
            free = forced < 0 if mask is None else mask & (forced < 0)
        routing = self.selection(scored, num_experts=self.num_experts, mask=free)
        if forced is not None:
            routing = force(routing, forced, mask)
        routing.free = free
        routing.num_samples = scored.num_samples
        return routing

    def forward(
        self,
        x: Float[Tensor, "units dim"],
        *,
        forced: Int[Tensor, "units"] | None = None,
        mask: Bool[Tensor, "units"] | None = None,
        num_samples: int = 1,
        **context: Any,
    ) -> Routing:
        """`decide(score(x))`."""
        scored = self.score(x, num_samples=num_samples, **context)
        return self.decide(scored, forced=forced, mask=mask)


def activate(
    logits: Float[Tensor, "units routed"], activation: Activation
) -> Float[Tensor, "units routed"]:
    """The score function's non-linearity, in float32 at least."""
    if activation == "softmax":
        return torch.softmax(logits, -1)
    if activation == "sigmoid":
        return torch.sigmoid(logits)
    if activation == "relu":
        return torch.relu(logits)
    if activation == "identity":
        return logits
    raise InputError(f"activation must be softmax, sigmoid, relu or identity, got {activation!r}")
