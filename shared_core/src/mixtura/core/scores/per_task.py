"""One score function per task: multi-gate mixtures."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score

__all__ = ["PerTaskScore"]


@configurable
class PerTaskScore(Score):
    """`z = z_t(x)`: the score function of the task `t` that the layer is told.

    MMoE (Ma et al., KDD 2018) has one gate per task over all experts; CGC and PLE (Tang et al.,
    RecSys 2020) and HoME (arXiv 2408.05430) let a gate see some of them only. Expert outputs that
    `experts.all(x)` computed once serve the routings of all tasks through `combine`.

    A task's units are not allowed to the experts that it does not see. The task is kept as
    `aux["task"]`, for losses.

    Args:
        scores: one score function per task. They may look at inputs of different widths when
            the layer is called for one task at a time.
        visible: experts that each task's logits stand for, in the order of the logits; every task
            scores all experts when not given.
        num_experts: number of experts; the largest visible one and those before it when not given.
    """

    context = frozenset({"task"})
    restricts = True
    allowed: Bool[Tensor, "tasks experts"] | None

    def __init__(
        self,
        scores: Sequence[Score],
        *,
        visible: Sequence[Sequence[int]] | None = None,
        num_experts: int | None = None,
    ) -> None:
        super().__init__()
        if not scores:
            raise InputError("a score per task needs at least one task, got none")
        self.scores = nn.ModuleList(scores)
        if visible is None:
            sizes = {score.num_experts for score in scores}
            if len(sizes | ({num_experts} - {None})) > 1:
                raise InputError(
                    f"the tasks score different numbers of experts ({sorted(sizes)}); say with "
                    "`visible` which experts each of them sees"
                )
            self.num_experts = sizes.pop()
            self.restricts = False
            allowed = None
        else:
            check_visible(scores, visible)
            seen_by_any = 1 + max(expert for seen in visible for expert in seen)
            self.num_experts = seen_by_any if num_experts is None else num_experts
            if seen_by_any > self.num_experts:
                raise InputError(
                    f"a task sees expert {seen_by_any - 1}, but the experts are 0 to "
                    f"{self.num_experts - 1}; raise num_experts"
                )
            allowed = torch.zeros(len(scores), self.num_experts, dtype=torch.bool)
            for task, seen in enumerate(visible):
                allowed[task, list(seen)] = True
        self.visible = visible
        self.register_buffer("allowed", allowed, persistent=False)

    def forward(
        self, x: Float[Tensor, "units dim"], *, task: int | Int[Tensor, "units"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit.

        Args:
            x: what the router looks at.
            task: number of the task, one for all units or one for each.
        """
        if isinstance(task, int):
            logits, aux = self._one(x, task)
        else:
            if task.shape != (len(x),):
                raise InputError(
                    f"expected one task for each of {len(x)} units, got {tuple(task.shape)}"
                )
            everyone = torch.stack([self._one(x, t)[0] for t in range(len(self.scores))])
            logits, aux = everyone[task, torch.arange(len(x), device=x.device)], {}
        aux = {**aux, "task": task}
        if self.allowed is not None:
            aux["allowed"] = self.allowed[task].expand_as(logits)
        return logits, aux

    def _one(self, x: Tensor, task: int) -> tuple[Tensor, dict[str, Any]]:
        if not 0 <= task < len(self.scores):
            raise InputError(f"the tasks are 0 to {len(self.scores) - 1}, got {task}")
        logits, aux = self.scores[task](x)
        if self.visible is None:
            return logits, aux
        everyone = logits.new_zeros(len(x), self.num_experts)
        seen = torch.tensor(self.visible[task], device=x.device)
        return everyone.index_copy(1, seen, logits), aux

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """Which task sees which expert is not for a selection to say."""
        if self.visible is not None:
            raise InputError(
                "the tasks of this router see some of the experts only, and a selection cannot say "
                "what they are to see then; build the router anew with other `visible` experts"
            )


def check_visible(scores: Sequence[Score], visible: Sequence[Sequence[int]]) -> None:
    """Refuse lists of visible experts that do not fit the score functions."""
    if len(visible) != len(scores):
        raise InputError(
            f"`visible` needs one list of experts for each of {len(scores)} tasks, "
            f"got {len(visible)}"
        )
    for task, (score, seen) in enumerate(zip(scores, visible, strict=True)):
        if len(set(seen)) != score.num_experts or len(seen) != score.num_experts or min(seen) < 0:
            raise InputError(
                f"task {task} scores {score.num_experts} experts, so it must see as many different "
                f"ones, got {list(seen)}"
            )
