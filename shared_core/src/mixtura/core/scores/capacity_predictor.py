"""A predictor beside the scores: which experts would have taken this unit?"""

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score
from mixtura.core.scores.precise_linear import precise_linear

__all__ = ["CapacityPredictor"]


@configurable
class CapacityPredictor(Score):
    """A score function with DiffMoE's capacity predictor beside it (arXiv 2503.14487, section 3.2).

    The logits are those of `score`. `aux["capacity_logits"]` (units, routed) is
    `W_2 silu(W_1 stop_gradient(x) + b_1) + b_2`: the predictor learns from `CapacityPrediction`
    what `PoolChoice` decided, and decides how many units an expert takes at inference. Its input is
    detached, so learning it changes nothing else.

    Args:
        score: the score function whose logits decide.
        dim: width of what the router looks at.
    """

    expert_axes: ClassVar[dict[str, int]] = {"output.weight": 0, "output.bias": 0}

    def __init__(self, score: Score, dim: int) -> None:
        super().__init__()
        check_sizes(dim=dim)
        self.score = score
        self.num_experts = score.num_experts
        self.context = score.context
        self.hidden = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, score.num_experts)

    def forward(
        self, x: Float[Tensor, "units dim"], **context: Any
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit, and those of the predictor."""
        logits, aux = self.score(x, **context)
        hidden = F.silu(precise_linear(x.detach(), self.hidden.weight, self.hidden.bias))
        capacity = precise_linear(hidden, self.output.weight, self.output.bias)
        return logits, {**aux, "capacity_logits": capacity}

    def expert_vectors(self) -> Float[Tensor, "routed dim"] | None:
        """Those of the score function."""
        return self.score.expert_vectors()
