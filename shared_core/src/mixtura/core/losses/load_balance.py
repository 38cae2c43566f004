"""Load balance: units should be spread over the experts.

Shape letters: S samples (or one batch), U units, N assignments, R routed experts.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from mixtura.core.checks import check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.routing import Routing
from mixtura.core.slots import SlotRouting

__all__ = ["LoadBalance", "load_balance"]

Normalization = Literal["one", "k", "units_k", "mean"]
Scores = Literal["scores", "share", "softmax"]
Per = Literal["batch", "sample"]


def load_balance(
    calls: Sequence[Routing],
    *,
    normalization: Normalization = "one",
    per: Per = "batch",
    first_only: bool = False,
    count_dropped: bool = True,
    scores: Scores = "scores",
    recount: int | None = None,
    across_ranks: bool = False,
) -> Float[Tensor, ""]:
    """`R sum_e f_e P_e`, where f_e is how much expert e was used and P_e its mean score.

    The rows of all calls are pooled first; padded and forced units count in neither. What f_e is
    divided by sets the value at perfect balance:

    - `one`: all valid assignments; balance gives 1 (Seg-MoE's code; Megatron's and Switch's form).
    - `k`: the units; balance gives k (the code of Time-MoE, MoHETS and transformers; top-p).
    - `units_k`: the units times the number of choices, valid or not; balance gives 1 as long as no
      choice is dropped (the formula printed in the Time-MoE paper).
    - `mean`: the units, and the mean over the experts instead of R times the sum; balance gives
      k / R^2 (GShard, with first choices).

    The known losses by their arguments: Switch and ST-MoE `per="sample", first_only=True`, and what
    the implementation of ST-MoE in most use counts with `normalization="k", count_dropped=False`
    besides; transformers `normalization="k"`; Megatron `normalization="units_k"`; DeepSeek-V3's
    loss per sequence `per="sample", scores="share"`; GShard `normalization="mean",
    first_only=True`.

    Args:
        calls: routings with scores over the same routed experts.
        normalization: the divisor of f.
        per: over the whole batch, or for each sample by itself and then averaged.
        first_only: count first choices only.
        count_dropped: whether first choices that a capacity dropped are counted all the same.
        scores: P from the scores, from the scores divided by their sum (sigmoid), or from a softmax
            of the logits.
        recount: count the plain top-k of those scores instead of what was chosen, as
            Megatron-Core does where groups and biases move the choice.
        across_ranks: count over all processes (arXiv 2501.11873); P stays local, and no gradient
            crosses. Balance per sample is local in any case.

    Sources: Fedus et al., Switch Transformers, 2021 (arXiv 2101.03961, eq. 4-6); Lepikhin et al.,
    GShard (arXiv 2006.16668); DeepSeek-V3 (arXiv 2412.19437, eq. 17-20); Time-MoE
    (arXiv 2409.16040); Seg-MoE (arXiv 2601.21641).
    """
    parts = [_sums(call, per, first_only, count_dropped, scores, recount) for call in calls]
    if not parts:
        raise InputError("a load-balance loss needs at least one routing")
    join = torch.cat if per == "sample" else _pool
    counts, score_sum, units, slots = (join(list(part)) for part in zip(*parts, strict=True))
    used_units = units
    shared = distributed.is_available() and distributed.is_initialized()
    if across_ranks and per == "batch" and shared:
        together = torch.cat([counts, units[:, None], slots[:, None]], -1)
        distributed.all_reduce(together)
        counts, used_units, slots = together[:, :-2], together[:, -2], together[:, -1]
    divisors = {"one": counts.sum(-1), "k": used_units, "units_k": slots, "mean": used_units}
    check_option("normalization", normalization, divisors)
    frequency = counts / divisors[normalization].clamp_min(1.0)[:, None]
    mean_score = score_sum / units.clamp_min(1.0)[:, None]
    routed = counts.shape[-1]
    factor = 1 / routed if normalization == "mean" else routed
    each = factor * (frequency * mean_score).sum(-1)
    return each.sum() / (units > 0).sum().clamp_min(1)


def _pool(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum(0)


def _sums(
    call: Routing, per: Per, first_only: bool, dropped: bool, kind: Scores, recount: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Counts (S, R), sums of scores (S, R), units (S) and choices (S) of one call."""
    scores = scores_of(call, kind)
    units, routed = scores.shape
    check_option("per", per, get_args(Per))
    check_choices(call)
    if recount is not None and recount > routed:
        raise InputError(f"recount must be at most the number of experts, {routed}, got {recount}")
    samples = call.num_samples if per == "sample" else 1
    each = units // max(samples, 1)
    alive = scores.new_ones(units) if call.free is None else call.free.to(scores.dtype)
    if recount is not None or first_only:
        if recount is not None:
            index = scores.topk(recount, dim=-1).indices
        elif call.index is not None:
            index = call.index[:, :1]
            if not dropped and call.valid is not None:
                index = index.masked_fill(~call.valid[:, :1], call.num_experts)
        else:
            raise InputError("first choices exist only where units choose experts")
        used = torch.zeros_like(scores, requires_grad=False)
        inside = index.clamp_max(routed - 1)
        used = used.scatter_add(-1, inside, (index < routed).to(scores.dtype))
    else:
        flat = call.unit * (call.num_experts + 1) + call.expert
        used = scores.new_zeros(units * (call.num_experts + 1))
        used = used.scatter_add(0, flat, torch.ones_like(flat, dtype=scores.dtype))
        used = used.view(units, call.num_experts + 1)[:, :routed]
    choices = 1 if first_only else recount or call.choices or 1
    used, scores = used * alive[:, None], scores * alive[:, None]
    counted = alive.view(samples, each).sum(-1)
    return (
        used.view(samples, each, routed).sum(1),
        scores.view(samples, each, routed).sum(1),
        counted,
        counted * choices,
    )


def check_choices(call: Routing) -> None:
    """Refuse a soft routing, in which nobody chooses and the load is even."""
    if isinstance(call, SlotRouting):
        raise InputError(
            "experts work on slots here, each on equally many, so there are no choices to count; "
            "leave the loss out or choose another selection than SoftSlots"
        )


def scores_of(call: Routing, kind: Scores = "scores") -> Float[Tensor, "units routed"]:
    """A routing's scores for a loss, float32 at least.

    Raises:
        InputError: when the routing carries none.
    """
    source = call.logits if kind == "softmax" else call.scores
    if source is None:
        raise InputError("a loss on scores needs routings that carry scores")
    source = source.to(torch.promote_types(source.dtype, torch.float32))
    if kind == "softmax":
        return source.softmax(-1)
    if kind == "share":
        return source / source.sum(-1, keepdim=True).clamp_min(1e-20)
    check_option("scores", kind, get_args(Scores))
    return source


@configurable
class LoadBalance(Loss):
    """`load_balance` as a configured loss.

    Args:
        weight: factor of the term; 0.02 in Time-MoE, MoHETS and Seg-MoE.
        normalization: see `load_balance`, like all that follows.
        per: over the batch or for each sample.
        first_only: first choices only.
        count_dropped: first choices that a capacity dropped count too.
        scores: what P is the mean of.
        recount: count a plain top-k.
        across_ranks: count over all processes.
        scope: per layer (default: an imbalance cannot cancel another layer's), or pooled.
    """

    name = "load_balance"

    def __init__(
        self,
        weight: float = 0.01,
        *,
        normalization: Normalization = "one",
        per: Per = "batch",
        first_only: bool = False,
        count_dropped: bool = True,
        scores: Scores = "scores",
        recount: int | None = None,
        across_ranks: bool = False,
        scope: Scope = "layer",
    ) -> None:
        super().__init__(weight, scope)
        check_option("normalization", normalization, get_args(Normalization))
        check_option("per", per, get_args(Per))
        check_option("scores", scores, get_args(Scores))
        check_sizes(recount=recount)
        self.normalization: Normalization = normalization
        self.per: Per = per
        self.first_only = first_only
        self.count_dropped = count_dropped
        self.scores: Scores = scores
        self.reads_shares = scores != "softmax"
        self.recount = recount
        self.across_ranks = across_ranks

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return load_balance(
            calls,
            normalization=self.normalization,
            per=self.per,
            first_only=self.first_only,
            count_dropped=self.count_dropped,
            scores=self.scores,
            recount=self.recount,
            across_ranks=self.across_ranks,
        )
