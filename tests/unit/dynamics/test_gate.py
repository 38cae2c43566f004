"""The gate's closed-form fit: clusters, assignment, regression, and what can go wrong."""

import pytest
import torch

from mixtura.core import Controller, InputError, Router, routers
from mixtura.dynamics import (
    ClosedFormGate,
    ContextKMeans,
    ContextScore,
    ExpertCosts,
    HardTop,
    KMeansPlusPlus,
)
from mixtura.dynamics.gate.assignment import (
    cluster_costs,
    greedy_assignment,
    optimal_assignment,
)
from mixtura.dynamics.gate.closed_form import minimum_norm_solution

from .systems import small_system


def blobs(per_cluster: int = 5, clusters: int = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    centres = 3 * torch.eye(clusters, 4)
    noise = 0.1 * torch.randn(clusters, per_cluster, 4, generator=random)
    return (centres[:, None] + noise).flatten(0, 1)


def test_the_fitted_gate_sends_clusters_to_their_cheapest_experts() -> None:
    contexts = blobs()
    losses = torch.ones(15, 3)
    for cluster, expert in enumerate((2, 0, 1)):
        losses[5 * cluster : 5 * cluster + 5, expert] = 0.1
    gate, score = ClosedFormGate(KMeansPlusPlus(5)), ContextScore(4, 3)
    fit = gate.fit(score, contexts, losses, generator=torch.Generator().manual_seed(0))
    assert fit.updated
    logits, _ = score(contexts)
    assert logits.argmax(1).tolist() == [2] * 5 + [0] * 5 + [1] * 5


def test_the_gate_is_a_controller_of_the_core() -> None:
    system = small_system(15, experts=3)
    system.gate = ClosedFormGate(KMeansPlusPlus(5))
    with torch.no_grad():
        system.contexts[:, :4] = blobs()
    losses = torch.rand(15, 3, generator=torch.Generator().manual_seed(0))
    assert isinstance(system.gate, Controller)
    (router,) = routers(system).values()
    router.freeze()
    before = system.mixer.score.weight.detach().clone()
    fit = system.update_gate(losses, torch.Generator().manual_seed(0))
    assert not fit.updated
    assert "frozen" in fit.message
    assert torch.equal(system.mixer.score.weight, before)
    router.unfreeze()
    fit = system.update_gate(losses, torch.Generator().manual_seed(0))
    assert fit.updated
    assert torch.equal(system.route().dense_weight, fit.targets)


def test_one_gate_steers_one_router() -> None:
    two = {name: Router(ContextScore(4, 3), HardTop()) for name in ("a", "b")}
    costs = {name: ExpertCosts(blobs(), torch.rand(15, 3)) for name in two}
    with pytest.raises(InputError, match="one router, got a, b"):
        ClosedFormGate().step(two, costs)
    assert ClosedFormGate().step(two, {}) == {}


def test_an_empty_cluster_leaves_the_gate_alone_and_forgets_the_centroids() -> None:
    gate, score = ClosedFormGate(), ContextScore(4, 3)
    before = score.weight.detach().clone()
    gate.remember(torch.ones(3, 4))
    fit = gate.fit(score, torch.zeros(6, 4), torch.rand(6, 3))
    assert not fit.updated
    assert "empty" in fit.message
    assert not gate.remembered
    torch.testing.assert_close(score.weight, before)


def test_more_experts_than_environments_and_equal_contexts_do_not_crash() -> None:
    for clustering in (ContextKMeans(), KMeansPlusPlus(3)):
        gate, score = ClosedFormGate(clustering), ContextScore(4, 5)
        assert not gate.fit(score, torch.randn(3, 4), torch.rand(3, 5)).updated
    gate, score = ClosedFormGate(KMeansPlusPlus(3)), ContextScore(4, 2)
    gate.fit(score, torch.ones(6, 4), torch.rand(6, 2))
    assert bool(score.weight.isfinite().all())


def test_losses_that_are_not_finite_do_not_reach_the_gate() -> None:
    losses = torch.ones(15, 3)
    losses[:, 1] = torch.nan
    losses[3, 0] = torch.inf
    gate, score = ClosedFormGate(KMeansPlusPlus(5)), ContextScore(4, 3)
    assert gate.fit(score, blobs(), losses).updated
    assert bool(score.weight.isfinite().all())


def test_the_median_of_an_even_cluster_is_between_the_middle_two() -> None:
    losses = torch.tensor([[1.0], [2.0], [10.0], [20.0]])
    assert cluster_costs(losses, torch.zeros(4, dtype=torch.long), 1).tolist() == [[6.0]]


def test_greedy_takes_in_order_and_optimal_takes_the_least_total() -> None:
    cost = torch.tensor([[1.0, 2.0], [1.0, 9.0]])
    assert greedy_assignment(cost).tolist() == [0, 1]
    assert optimal_assignment(cost).tolist() == [1, 0]


def test_least_squares_of_rank_deficient_features_has_least_norm() -> None:
    features = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    solution = minimum_norm_solution(features, torch.tensor([[2.0], [4.0]]))
    torch.testing.assert_close(solution, torch.tensor([[1.0], [1.0]]))


def test_convergence_in_the_last_iteration_counts_as_failure() -> None:
    contexts = blobs()
    centroids = torch.stack([contexts[5 * k : 5 * k + 5].mean(0) for k in range(3)])
    assert ContextKMeans(2)(contexts, 3, centroids).outcome == "converged"
    assert ContextKMeans(1)(contexts, 3, centroids).outcome == "not_converged"
