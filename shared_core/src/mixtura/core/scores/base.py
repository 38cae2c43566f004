"""What every score function is: units in, one logit per unit and expert out."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Score", "Scored"]


@dataclass
class Scored:
    """What a router knows before it decides.

    Attributes:
        logits: float32.
        scores: logits after the activation (softmax, sigmoid, ...), float32.
        aux: what the score function wants kept beside the decision, such as a recurrent state.
        num_samples: samples that the units come from, in equal shares and in order.
    """

    logits: Float[Tensor, "units routed"]
    scores: Float[Tensor, "units routed"]
    aux: dict[str, Any] = field(default_factory=dict)
    num_samples: int = 1


class Score(nn.Module):
    """Base of the score functions: `forward(x (units, dim), **context) -> (logits, aux)`.

    The logits (units, routed) are float32 whatever the precision around; `aux` is what else to
    keep beside the decision.

    Attributes:
        num_experts: R, the experts that get a logit.
        context: what else than `x` the score function looks at: `task`, `state`, `ids`.
    """

    num_experts: int
    context: frozenset[str] = frozenset()
