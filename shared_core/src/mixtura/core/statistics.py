"""What the experts of a layer got to do."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed

from mixtura.core.routing import Routing

__all__ = ["LayerStatistics"]


@dataclass(frozen=True)
class LayerStatistics:
    """Counts and means of one layer over some calls, detached; sums of two of them are a third.

    Attributes:
        counts: valid assignments of each expert.
        score_sum: sum over units of each routed expert's score.
        entropy_sum: sum over units of the entropy (nats) of their normalised scores.
        num_units: units that were not masked.
        margin_sum: sum over units of the gap between the best and the second best logit.
        dropped: choices of real units that were not carried out (capacity).
    """

    counts: Int[Tensor, "experts"]
    score_sum: Float[Tensor, "routed"] | None
    entropy_sum: Float[Tensor, ""] | None
    num_units: Int[Tensor, ""]
    margin_sum: Float[Tensor, ""] | None = None
    dropped: Int[Tensor, ""] | None = None

    @classmethod
    def of(cls, calls: Sequence[Routing]) -> "LayerStatistics":
        """The statistics of some calls of one layer."""
        total = None
        for call in calls:
            one = cls._of_one(call)
            total = one if total is None else total + one
        assert total is not None  # a record leaves out layers that were not called
        return total

    @classmethod
    @torch.no_grad()
    def _of_one(cls, routing: Routing) -> "LayerStatistics":
        scores = routing.scores
        if routing.mask is None:
            num_units = torch.tensor(routing.num_units, device=routing.expert.device)
        else:
            num_units = routing.mask.sum()
        dropped = routing.aux.get("dropped")
        if scores is None:
            return cls(routing.counts, None, None, num_units, None, dropped)
        scores = scores.detach().float()
        if routing.mask is not None:
            scores = scores * routing.mask[:, None]
        share = scores / scores.sum(-1, keepdim=True).clamp_min(1e-20)
        entropy = -torch.special.xlogy(share, share).sum()
        margin = None
        if routing.logits is not None and routing.logits.shape[-1] > 1:
            best = routing.logits.detach().float().clamp_min(-1e30).topk(2, -1).values
            gap = best[:, 0] - best[:, 1]
            margin = gap.sum() if routing.mask is None else gap.where(routing.mask, 0.0).sum()
        return cls(routing.counts, scores.sum(0), entropy, num_units, margin, dropped)

    def __add__(self, other: "LayerStatistics") -> "LayerStatistics":
        return LayerStatistics(
            self.counts + other.counts,
            _sum(self.score_sum, other.score_sum),
            _sum(self.entropy_sum, other.entropy_sum),
            self.num_units + other.num_units,
            _sum(self.margin_sum, other.margin_sum),
            _sum(self.dropped, other.dropped),
        )

    def across_ranks(self) -> "LayerStatistics":
        """The same over all processes; every process has to call it for the same layers."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return self
        values = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                value = value.clone()
                distributed.all_reduce(value)
            values[item.name] = value
        return LayerStatistics(**values)

    @property
    def load(self) -> Float[Tensor, "experts"]:
        """Share of the assignments that each expert got; sums to 1."""
        return self.counts / self.counts.sum().clamp_min(1)

    @property
    def mean_active(self) -> Float[Tensor, ""]:
        """Experts per unit, on average."""
        return self.counts.sum() / self.num_units.clamp_min(1)

    @property
    def coefficient_of_variation(self) -> Float[Tensor, ""]:
        """Standard deviation of the load over its mean; 0 is balance."""
        return self.load.std(correction=0) * len(self.counts)

    @property
    def max_violation(self) -> Float[Tensor, ""]:
        """MaxVio: largest load over mean load, minus 1; 0 is balance (arXiv 2408.15664)."""
        return self.load.max() * len(self.counts) - 1

    @property
    def load_entropy(self) -> Float[Tensor, ""]:
        """Entropy of the load in nats; log(experts) is balance."""
        return -torch.special.xlogy(self.load, self.load).sum()

    @property
    def mean_entropy(self) -> Float[Tensor, ""] | None:
        """Mean entropy (nats) of a unit's normalised scores: how undecided the router is."""
        return None if self.entropy_sum is None else self.entropy_sum / self.num_units.clamp_min(1)

    @property
    def mean_margin(self) -> Float[Tensor, ""] | None:
        """Mean gap between a unit's best and second best logit: how settled the router is."""
        return None if self.margin_sum is None else self.margin_sum / self.num_units.clamp_min(1)

    @property
    def dead(self) -> Int[Tensor, ""]:
        """Experts without any assignment."""
        return (self.counts == 0).sum()


def _sum(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    return None if left is None or right is None else left + right
