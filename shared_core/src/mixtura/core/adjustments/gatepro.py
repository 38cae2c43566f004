"""GatePro: similar experts compete before the choice."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.memory import Memory
from mixtura.core.replay import replayed
from mixtura.core.scores.base import Score, Scored

__all__ = ["GatePro", "most_similar"]


@configurable
class GatePro(Adjustment):
    """Each expert is penalised for the units that its most similar expert wants more.

    `loser_i(u) = z_ui < z_u,j*(i)`, where `j*(i)` is the expert whose gate vector has the largest
    cosine with that of `i`; equal logits penalise none. `subtract` takes `penalty` from the loser's
    logit, `scale` multiplies the loser's score by it. It has no parameters and sends no gradient
    through the similarities.

    GatePro (arXiv 2510.13079); its published penalty is 1e-4.

    Args:
        penalty: see above.
        mode: what is done to the loser.
        weights_from: whether the combine weights are the transformed or the original scores.
        every_n_steps: training passes for which the most similar experts that were once found stay
            the same; for very many experts. Outside training they are always those of the weights.
    """

    def __init__(
        self,
        penalty: float = 1e-4,
        *,
        mode: Literal["subtract", "scale"] = "subtract",
        weights_from: Literal["transformed", "original"] = "transformed",
        every_n_steps: int = 1,
    ) -> None:
        super().__init__()
        check_number("penalty", penalty, least=0)
        check_option("mode", mode, ("subtract", "scale"))
        check_option("weights_from", weights_from, ("transformed", "original"))
        check_sizes(every_n_steps=every_n_steps)
        self.ranks = mode == "scale" or weights_from == "original"
        self.own_scale = mode == "subtract" and weights_from == "original"
        self.penalty = penalty
        self.mode = mode
        self.weights_from = weights_from
        self.every_n_steps = every_n_steps
        self.found = Memory()

    def on_logits(
        self, logits: Float[Tensor, "units routed"], score: Score
    ) -> Float[Tensor, "units routed"]:
        """The logits less the losers' penalty, where that is what the weights come from."""
        if self.mode == "scale" or self.weights_from == "original":
            return logits
        return logits - self.penalty * self._losers(logits, score)

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The other three ways."""
        if self.mode == "subtract":
            if self.weights_from == "transformed":
                return scored
            ranking = scored.logits if scored.ranking is None else scored.ranking
            return replace(
                scored, ranking=ranking - self.penalty * self._losers(scored.logits, score)
            )
        factor = torch.where(self._losers(scored.logits, score), self.penalty, 1.0)
        ranking = scored.scores if scored.ranking is None else scored.ranking
        if self.weights_from == "original":
            return replace(scored, ranking=ranking * factor)
        scaled = None if scored.ranking is None else scored.ranking * factor
        return replace(scored, scores=scored.scores * factor, ranking=scaled)

    @torch.no_grad()
    def _losers(
        self, logits: Float[Tensor, "units routed"], score: Score
    ) -> Bool[Tensor, "units routed"]:
        """Where an expert's most similar expert has a larger logit."""
        return logits < logits.index_select(-1, self._most_similar(score))

    def _most_similar(self, score: Score) -> Int[Tensor, "routed"]:
        vectors = score.expert_vectors()
        assert vectors is not None  # refused by `check`
        if self.every_n_steps == 1 or not self.training:
            return most_similar(vectors)
        age, known = self.found.get("age"), self.found.get("most_similar")
        if age is None or known is None or len(known) != len(vectors):
            age, known = torch.tensor(0), most_similar(vectors)
        elif replayed(vectors) is True:
            return known
        elif int(age) >= self.every_n_steps:
            age, known = torch.tensor(0), most_similar(vectors)
        self.found["age"], self.found["most_similar"] = age + 1, known
        return known

    def check(self, score: Score, choices: int | None) -> None:
        """The score function must have gate vectors, at least two."""
        if score.expert_vectors() is None or score.num_experts < 2:
            raise InputError(
                f"GatePro compares the gate vectors of two experts or more, but "
                f"{type(score).__name__} has none; use a linear or cosine score"
            )


@torch.no_grad()
def most_similar(vectors: Float[Tensor, "routed dim"]) -> Int[Tensor, "routed"]:
    """The other expert whose vector has the largest cosine; it need not be mutual."""
    unit = F.normalize(vectors.float(), dim=-1)
    cosine = unit @ unit.T
    return cosine.fill_diagonal_(-float("inf")).argmax(-1)
