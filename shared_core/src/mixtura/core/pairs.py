"""Which score functions, activations, selections and adjustments make sense together."""

from collections.abc import Sequence
from typing import get_args

from mixtura.core.activation import Activation
from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_option
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.scores.base import Score
from mixtura.core.selections.base import Selection

__all__ = ["check_causal", "check_losses", "check_pair"]


def check_pair(
    score: Score,
    selection: Selection,
    activation: str,
    adjustments: Sequence[Adjustment],
    *,
    reserved: int = 0,
) -> None:
    """Refuse a score function, an activation and a selection that make no sense together.

    Raises:
        InputError: with a sentence that says why.
    """
    check_option("activation", activation, get_args(Activation))
    if score.gives not in selection.accepts:
        raise InputError(
            f"{type(selection).__name__} selects from {' or '.join(sorted(selection.accepts))}, "
            f"but {type(score).__name__} gives {score.gives}; choose another selection"
        )
    if score.gives != "logits" and activation != "identity":
        raise InputError(
            f"{type(score).__name__} gives {score.gives}, to which no activation belongs; "
            f"set activation to identity instead of {activation}"
        )
    for part in (selection, *adjustments):
        if part.activations is not None and activation not in part.activations:
            if score.gives != "logits":
                raise InputError(
                    f"{type(part).__name__} needs scores from "
                    f"{' or '.join(sorted(part.activations))}, but {type(score).__name__} gives "
                    f"{score.gives}, to which no activation belongs; choose another part"
                )
            raise InputError(
                f"{type(part).__name__} needs scores from {' or '.join(sorted(part.activations))}, "
                f"got activation {activation}; set one of these or choose another selection"
            )
    selection.check(score, activation, reserved)
    check_adjustments(score, selection, adjustments)


def check_adjustments(
    score: Score, selection: Selection, adjustments: Sequence[Adjustment]
) -> None:
    """Refuse adjustments that have no effect, or undo each other."""
    before: Adjustment | None = None
    for adjustment in adjustments:
        name = type(adjustment).__name__
        if score.gives != "logits":
            raise InputError(
                f"{name} adjusts logits, but {type(score).__name__} gives {score.gives}; leave the "
                "adjustment out"
            )
        if adjustment.ranks and not selection.ranks:
            raise InputError(
                f"{name} changes what experts are ranked by, but {type(selection).__name__} does "
                "not rank them; leave the adjustment out or choose another selection"
            )
        if adjustment.own_scale and selection.by_value:
            raise InputError(
                f"{name} ranks experts on a scale of its own, which {type(selection).__name__} "
                "would compare with a threshold; choose a selection that takes the best, like TopK"
            )
        if adjustment.in_groups and not selection.alike:
            raise InputError(
                f"{name} puts experts into groups, but {type(selection).__name__} chooses among "
                "some of them only; leave the adjustment out or choose another selection"
            )
        if adjustment.replaces_ranking and before is not None:
            raise InputError(
                f"{name} replaces what experts are ranked by, so {type(before).__name__} listed "
                f"before it would count for nothing; list {name} first, or only one of them"
            )
        before = adjustment if adjustment.ranks else before
        adjustment.check(score, getattr(selection, "k", None))


def check_losses(losses: Sequence[Loss], score: Score, activation: str) -> None:
    """Refuse losses that would take plain logits for shares."""
    for loss in losses:
        if loss.reads_shares and activation == "identity" and score.gives == "logits":
            raise InputError(
                f"{type(loss).__name__} reads scores as shares of a unit, but with the activation "
                "identity they are plain logits; set the activation softmax or sigmoid, or give "
                "LoadBalance the argument scores='softmax'"
            )


def check_causal(selection: Selection, adjustments: Sequence[Adjustment]) -> None:
    """Refuse parts that let units compete."""
    for part in (selection, *adjustments):
        if not part.causal:
            raise InputError(
                f"the router is to be causal, but with {type(part).__name__} the decision about a "
                "unit depends on other units; choose TopK, TopP or another part that is causal"
            )
