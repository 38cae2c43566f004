"""Clusterings and routings under arbitrary contexts."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mixtura.core.scores import Scored
from mixtura.dynamics import HardTop, KMeansPlusPlus


@given(st.integers(1, 5), st.integers(0, 12), st.integers(0, 10_000))
def test_no_cluster_of_a_finished_clustering_is_empty(clusters: int, more: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    contexts = torch.randn(clusters + more, 3, generator=random)
    found = KMeansPlusPlus(2)(contexts, clusters, generator=random)
    assert found.outcome == "converged"
    assert sorted(found.assignment.unique().tolist()) == list(range(clusters))


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 10_000))
def test_hard_top_takes_every_winner_with_weight_one(experts: int, units: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    # few distinct values, so that ties happen
    scores = torch.randint(0, 3, (units, experts), generator=random) / 3
    routing = HardTop()(Scored(scores, scores), num_experts=experts)
    winners = scores == scores.amax(1, keepdim=True)
    assert torch.equal(routing.dense_weight, winners.to(scores.dtype))
