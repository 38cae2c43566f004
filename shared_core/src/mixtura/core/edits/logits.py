"""An offset on the logits."""

from dataclasses import replace

from torch import Tensor

from mixtura.core.edits.base import Edit, per_unit
from mixtura.core.scores.base import Scored

__all__ = ["OffsetLogits"]


class OffsetLogits(Edit):
    """`z + offset` before everything else.

    The offset may require a gradient: rewiring experts on the fly (arXiv 2510.14853) optimises it
    at test time.

    Args:
        offset: one per expert, or one per unit and expert.
    """

    stage = "offset"

    def __init__(self, offset: Tensor) -> None:
        self.offset = offset

    def on_scored(self, scored: Scored) -> Scored:
        """The moved logits."""
        offset = per_unit(self.offset, scored.logits, "a logit offset")
        return replace(scored, logits=scored.logits + offset)
