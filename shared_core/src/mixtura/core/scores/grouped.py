"""Experts in groups, one group for each cluster of the data."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core.checks import check_groups_selected
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score
from mixtura.core.scores.ids import flat_ids
from mixtura.core.scores.kmeans import KMeansScore

__all__ = ["GroupedScore"]


@configurable
class GroupedScore(Score):
    """The scores of another function, with only the experts of the unit's cluster allowed.

    The first stage is hard: a sample's (or unit's) embedding goes to its nearest centroid, and
    centroid g owns the experts g N to (g + 1) N - 1. The second stage is whatever `score` says. The
    layer is called with `embedding`, one per unit or one per sample (the units of a sample are
    neighbours, equally many of each), or with the number of the `group` itself; without either the
    router's own input is the embedding. Balance belongs within each group
    (`GroupedBalance`), for which `group` is kept.

    Mixture-of-Clustered-Experts (arXiv 2509.10513). Compare it with `HashScore`: clustered
    assignments do not always win.

    Args:
        score: the second stage, over all experts.
        clusters: the first stage; as many centroids as groups. `clusters.fit` finds them offline;
            with a `momentum` they follow the embeddings in training, until the router is frozen.
    """

    restricts = True

    def __init__(self, score: Score, clusters: KMeansScore) -> None:
        super().__init__()
        if score.num_experts % clusters.num_experts:
            raise InputError(
                f"{score.num_experts} experts cannot be dealt evenly to {clusters.num_experts} "
                "clusters"
            )
        if score.gives != "logits":
            raise InputError(f"groups need logits, but {type(score).__name__} gives {score.gives}")
        self.score = score
        self.clusters = clusters
        self.num_experts = score.num_experts
        self.context = score.context | {"embedding", "group"}

    def forward(
        self,
        x: Float[Tensor, "units dim"],
        *,
        embedding: Float[Tensor, "samples embedding_dim"] | None = None,
        group: Int[Tensor, "samples"] | None = None,
        **context: Any,
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits, and which experts are allowed."""
        logits, aux = self.score(x, **context)
        group = self._nearest(x.detach() if embedding is None else embedding, len(x), group)
        size = self.num_experts // self.clusters.num_experts
        allowed = torch.arange(self.num_experts, device=x.device) // size == group[:, None]
        return logits, {**aux, "allowed": allowed, "group": group}

    def _nearest(self, embedding: Tensor, units: int, group: Tensor | None) -> Tensor:
        """The cluster of each unit, unless it is told; online clusters move."""
        name = "embedding" if group is None else "group"
        seen = embedding if group is None else group
        wanted = (units, self.clusters.dim)[: 2 if group is None else 1]
        each, rest = divmod(units, max(len(seen), 1))
        if rest or seen.shape[1:] != wanted[1:] or len(seen) > units:
            raise InputError(
                f"expected the {name} of each unit, {wanted}, or of each sample, got "
                f"{tuple(seen.shape)}"
            )
        if group is None:
            found = self.clusters(embedding)[0].argmax(-1)
        else:
            found = flat_ids(group, len(group), self.clusters.num_experts)
        return found if each == 1 else found.repeat_interleave(each)

    def expert_vectors(self) -> Float[Tensor, "routed dim"] | None:
        """Those of the second stage."""
        return self.score.expert_vectors()

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """The clusters keep their experts."""
        if self.clusters.num_experts < num_experts:
            check_groups_selected(index, num_experts, self.clusters.num_experts)
