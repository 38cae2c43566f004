"""Sinkhorn: in training, units are spread evenly over the experts."""

from dataclasses import replace

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score, Scored
from mixtura.core.sinkhorn_knopp import sinkhorn

__all__ = ["Sinkhorn"]


@configurable
class Sinkhorn(Adjustment):
    """In training, experts are chosen from the doubly normalised matrix of `exp(logits)`.

    The weights are the scores: a sigmoid of the logits for k = 1, else their softmax, as in
    Megatron-Core. Outside training every unit takes its best experts, so that one unit's result
    does not depend on the others.

    Clark et al., Unified Scaling Laws for Routed Language Models, 2022 (arXiv 2202.01169).

    Args:
        tolerance: the iteration ends when the column scaling moves less than this on average.
        max_iterations: or after this many rounds.
    """

    activations = frozenset({"sigmoid", "softmax"})
    replaces_ranking = True
    own_scale = True
    causal = False

    def __init__(self, tolerance: float = 1e-4, *, max_iterations: int = 100) -> None:
        super().__init__()
        check_number("tolerance", tolerance, above=0)
        check_sizes(max_iterations=max_iterations)
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The ranking of the normalised matrix."""
        if not self.training:
            return scored
        spread = sinkhorn(
            scored.logits,
            scored.mask,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        return replace(scored, ranking=spread)
