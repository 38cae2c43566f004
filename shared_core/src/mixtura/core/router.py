"""The router: a score function, an activation and a selection."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_number, check_option
from mixtura.core.configuration import configurable
from mixtura.core.edits.base import Edit, apply_edits
from mixtura.core.errors import InputError
from mixtura.core.forcing import force
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection

__all__ = ["Activation", "Router", "activate", "check_pair"]

Activation = Literal["softmax", "sigmoid", "relu", "identity"]

FROZEN = "frozen"


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
        jitter: in training, what the router looks at is multiplied by U(1 - jitter, 1 + jitter)
            (Switch Transformers); the experts see the original.
        adjustments: steps between score function and selection, in this order: balance bias, group
            limit, GatePro, Sinkhorn, ...
        causal: refuse whatever lets the decision about a unit depend on other units: the future
            of a sequence, the rest of a batch.

    Attributes:
        edits: reversible changes to the decision; see `edit_routing`.
        frozen: whether the router has stopped learning: no gradient, no noise, no bias updates. A
            frozen router says so in its state dict, and one that loads it is frozen too.
    """

    adjustments: Sequence[Adjustment]

    def __init__(
        self,
        score: Score,
        selection: Selection,
        *,
        activation: Activation = "softmax",
        temperature: float = 1.0,
        dropout: float = 0.0,
        reserved: int = 0,
        jitter: float = 0.0,
        adjustments: Sequence[Adjustment] = (),
        causal: bool = False,
    ) -> None:
        super().__init__()
        check_number("temperature", temperature, above=0)
        check_number("dropout", dropout, least=0, below=1)
        check_number("jitter", jitter, least=0, below=1)
        check_number("reserved", reserved, least=0)
        check_pair(score, selection, activation, adjustments, reserved=reserved)
        if causal:
            check_causal(selection, adjustments)
        self.score_function = score
        self.selection = selection
        self.activation: Activation = activation
        self.temperature = temperature
        self.dropout = dropout
        self.reserved = reserved
        self.jitter = jitter
        self.causal = causal
        self.add_module("adjustments", nn.ModuleList(adjustments))
        self.edits: list[Edit] = []
        self.frozen = False

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
        width = getattr(self.score_function, "dim", None)
        if x.ndim != 2 or (width is not None and x.shape[-1] != width):
            raise InputError(
                f"the router looks at (units, {width or 'dim'}), got {tuple(x.shape)}; give the "
                "score function the width of the layer's input, or give route_on"
            )
        if self.jitter and self.training and not self.frozen:
            x = x * torch.empty_like(x).uniform_(1 - self.jitter, 1 + self.jitter)
        logits, aux = self.score_function(x, **context)
        if self.temperature != 1.0:
            logits = logits / self.temperature
        for adjustment in self.adjustments:
            logits = adjustment.on_logits(logits, self.score_function)
        return self._activate(
            Scored(logits, logits, aux, num_samples, allowed=aux.get("allowed")), dropout=True
        )

    def _activate(self, scored: Scored, *, dropout: bool) -> Scored:
        logits, allowed = scored.logits, scored.allowed
        if allowed is None:
            scores = activate(logits, self.activation)
        else:
            scores = activate(logits.masked_fill(~allowed, -1e30), self.activation)
            scores = scores.masked_fill(~allowed, 0.0)
            logits = logits.masked_fill(~allowed, -float("inf"))
        if dropout and self.dropout and not self.frozen:
            scores = F.dropout(scores, self.dropout, self.training)
        return replace(scored, logits=logits, scores=scores)

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
        if free is not None and (free.shape != scored.scores.shape[:1] or free.dtype != torch.bool):
            raise InputError(
                f"mask and forced need one entry for each of {len(scored.scores)} units, true or "
                f"false and a number, got {tuple(free.shape)} of {free.dtype}"
            )
        scored.mask = free
        if self.edits:
            scored = self._edit(scored)
        for adjustment in self.adjustments:
            scored = adjustment.on_scores(scored, self.score_function)
        routing = self.selection(scored, num_experts=self.num_experts, mask=free)
        for edit in self.edits:
            if edit.stage == "multiply":
                routing = edit.on_routing(routing)
        if forced is not None:
            if self.score_function.gives == "slots":
                raise InputError("units cannot be forced to an expert where experts work on slots")
            check_forced(forced, self.num_experts)
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

    def freeze(self) -> None:
        """Stop learning: no gradient, no noise; controllers of its buffers leave it alone."""
        self.frozen = True
        for parameter in self.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        _set_noise(self, False)

    def unfreeze(self) -> None:
        """Learn again."""
        self.frozen = False
        self.requires_grad_(True)
        _set_noise(self, True)

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.frozen:
            destination[prefix + FROZEN] = torch.tensor(True)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        frozen = state_dict.pop(prefix + FROZEN, None)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if frozen is not None and bool(frozen):
            self.freeze()
        elif self.frozen:
            self.unfreeze()

    def _edit(self, scored: Scored) -> Scored:
        before = scored
        scored = apply_edits(self.edits, "offset", scored)
        scored = apply_edits(self.edits, "forbid", scored)
        if scored is not before:
            scored = self._activate(scored, dropout=True)
        scored = apply_edits(self.edits, "override", scored)
        scored = apply_edits(self.edits, "choice", scored)
        if scored.choice is not None:
            refused = sorted(scored.choice.asks_for - self.selection.takes)
            if refused:
                raise InputError(
                    f"an edit changes {', '.join(refused)}, but {type(self.selection).__name__} "
                    "has no such choice; use a selection that ranks experts, such as TopK"
                )
        return scored


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
    return logits


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
        if adjustment.replaces_ranking and selection.by_value:
            raise InputError(
                f"{name} ranks experts on a scale of its own, which {type(selection).__name__} "
                "would compare with a threshold; choose a selection that takes the best, like TopK"
            )
        if adjustment.replaces_ranking and before is not None:
            raise InputError(
                f"{name} replaces what experts are ranked by, so {type(before).__name__} listed "
                f"before it would count for nothing; list {name} first, or only one of them"
            )
        before = adjustment if adjustment.ranks else before
        adjustment.check(score, getattr(selection, "k", None))


def check_forced(forced: Int[Tensor, "units"], num_experts: int) -> None:
    """Refuse experts that do not exist, where the host can see them."""
    hidden = forced.device.type != "cpu" or torch.compiler.is_compiling()
    if hidden or len(forced) == 0 or int(forced.max()) < num_experts:
        return
    raise InputError(
        f"a unit is forced to an expert between 0 and {num_experts - 1}, or to none (-1), got "
        f"{int(forced.max())}"
    )


def check_causal(selection: Selection, adjustments: Sequence[Adjustment]) -> None:
    """Refuse parts that let units compete."""
    for part in (selection, *adjustments):
        if not part.causal:
            raise InputError(
                f"the router is to be causal, but with {type(part).__name__} the decision about a "
                "unit depends on other units; choose TopK, TopP or another part that is causal"
            )


@runtime_checkable
class _Noisy(Protocol):
    noisy: bool


def _set_noise(router: Router, noisy: bool) -> None:
    for module in router.modules():
        if isinstance(module, _Noisy):
            module.noisy = noisy
