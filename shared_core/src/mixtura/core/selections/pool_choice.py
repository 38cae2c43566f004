"""Pool choice: expert choice over the batch, and thresholds that decide at inference."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.precise import PreciseBuffers
from mixtura.core.replay import replayed
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection
from mixtura.core.selections.expert_choice import (
    Taken,
    assign,
    assign_taken,
    check_capacity,
    take_best,
)

__all__ = ["PoolChoice"]


@configurable
class PoolChoice(PreciseBuffers, Selection):
    """DiffMoE's selection (arXiv 2503.14487): the experts choose from the units of all samples.

    In training each expert takes its `int(N / R * capacity)` best units of the pool of N, and its
    threshold follows that of them which it ranks last by the signal:
    `thr_e <- decay * thr_e + (1 - decay) * q_e`, then the mean over all ranks. The signal is the
    probability of the capacity predictor (`CapacityPredictor`), or the score where the score
    function predicts none.

    At inference the units whose signal is above the threshold decide how much an expert does, and
    the number of assignments depends on the data. `topk_by_gate`, what the reference implementation
    does, counts them over the batch and takes as many units by score: a sample's output depends on
    the other samples. `mask` takes the very units, each by itself.

    Args:
        num_experts: R, the experts that have a logit.
        capacity: experts per unit on average, in training.
        decay: of the thresholds' moving average.
        inference: how the thresholds are used at inference.
    """

    causal = False
    chooser = "experts"
    expert_axes: ClassVar[dict[str, int]] = {"threshold": 0}
    threshold: Float[Tensor, "routed"]

    def __init__(
        self,
        num_experts: int,
        capacity: float = 1.0,
        *,
        decay: float = 0.95,
        inference: Literal["topk_by_gate", "mask"] = "topk_by_gate",
    ) -> None:
        super().__init__()
        check_capacity(capacity, 1)
        check_sizes(num_experts=num_experts)
        check_number("decay", decay, least=0, below=1)
        check_option("inference", inference, ("topk_by_gate", "mask"))
        self.capacity = capacity
        self.decay = decay
        self.inference = inference
        self.register_buffer("threshold", torch.zeros(num_experts))

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """A threshold for each expert that is scored."""
        if score.num_experts != len(self.threshold):
            raise InputError(
                f"the pool choice has thresholds for {len(self.threshold)} experts, but "
                f"{score.num_experts} are scored; make the two numbers equal"
            )

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each expert's units to it."""
        scores = scored.scores
        logits = scored.aux.get("capacity_logits")
        signal = scores.detach() if logits is None else logits.detach().sigmoid()
        if not self.training:
            unit, expert = self._above_threshold(scored.ranked.detach(), signal, mask)
            return assign(unit, expert, None, scored, scores, num_experts=num_experts, mask=mask)
        holes = scored.ranking is not None or scored.allowed is not None
        best = take_best(scored.ranked, groups=1, capacity=self.capacity, mask=mask, holes=holes)
        if best.unit.shape[-1]:
            if holes:
                signal = signal.masked_fill(scored.ranked == -torch.inf, -torch.inf)
            if mask is not None:
                signal = signal.masked_fill(~mask[:, None], -torch.inf)
            self._follow(signal, best)
        return assign_taken(best, scored, scores, num_experts=num_experts, mask=mask)

    @torch.no_grad()
    def _follow(self, signal: Float[Tensor, "units routed"], best: Taken) -> None:
        places = best.unit.shape[-1]
        ranked = signal.topk(places, dim=0).values
        if best.valid is None:
            last = ranked[-1]
            stay = replayed(signal)
        else:
            filled = best.valid.sum((1, 2))
            last = ranked.gather(0, (filled - 1).clamp_min(0)[None])[0]
            stay = replayed(signal) | (filled == 0)
        moved = self.decay * self.threshold + (1 - self.decay) * last.to(self.threshold.dtype)
        if stay is True:
            return
        moved = moved if stay is False else torch.where(stay, self.threshold, moved)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(moved)
            moved = moved / distributed.get_world_size()
        self.threshold.copy_(moved)

    def _above_threshold(
        self,
        scores: Float[Tensor, "units routed"],
        signal: Float[Tensor, "units routed"],
        mask: Tensor | None,
    ) -> tuple[Int[Tensor, "assignments"], Int[Tensor, "assignments"]]:
        fires = (signal > self.threshold) & (scores > -torch.inf)
        if mask is not None:
            fires = fires & mask[:, None]
        if self.inference == "mask":
            expert, unit = fires.T.nonzero().unbind(1)
            return unit, expert
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], -torch.inf)
        ranking = scores.argsort(dim=0, descending=True, stable=True).T
        rank = torch.arange(len(scores), device=scores.device)
        expert, place = (rank < fires.sum(0)[:, None]).nonzero().unbind(1)
        return ranking[expert, place], expert
