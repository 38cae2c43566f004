"""The router: a score function, an activation and a selection."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.activation import Activation, activate
from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.edits.base import Edit, apply_edits
from mixtura.core.errors import InputError
from mixtura.core.forcing import check_forced, force
from mixtura.core.pairs import check_causal, check_pair
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection

__all__ = ["Router"]

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

    def _replaced(self, scored: Scored) -> Scored:
        """Let selections that weigh by the logits see the scores that an edit put in, too."""
        new = scored.scores
        if self.activation != "identity":
            new = new.clamp_min(1e-20).log()
        if scored.allowed is not None:
            new = new.masked_fill(~scored.allowed, -float("inf"))
        return replace(scored, replaced=new)

    def _edit(self, scored: Scored) -> Scored:
        if self.score_function.gives == "slots":
            raise InputError(
                "experts work on slots here, mixtures of all units, so there is no decision about "
                "a unit to edit; take the edits off this router"
            )
        before = scored
        scored = apply_edits(self.edits, "offset", scored)
        scored = apply_edits(self.edits, "forbid", scored)
        if scored is not before:
            scored = self._activate(scored, dropout=True)
        before = scored
        scored = apply_edits(self.edits, "override", scored)
        if scored is not before:
            scored = self._replaced(scored)
        scored = apply_edits(self.edits, "choice", scored)
        if scored.choice is not None:
            refused = sorted(scored.choice.asks_for - self.selection.takes)
            if refused:
                raise InputError(
                    f"an edit changes {', '.join(refused)}, but {type(self.selection).__name__} "
                    "has no such choice; use a selection that ranks experts, such as TopK"
                )
        return scored


@runtime_checkable
class _Noisy(Protocol):
    noisy: bool


def _set_noise(router: Router, noisy: bool) -> None:
    for module in router.modules():
        if isinstance(module, _Noisy):
            module.noisy = noisy
