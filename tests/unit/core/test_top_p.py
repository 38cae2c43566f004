"""Top-p: which experts, and the controller that steers how many."""

import pytest
import torch

from mixtura.core import (
    InputError,
    LayerStatistics,
    LinearScore,
    LogitNormalization,
    Router,
    RouterEntropy,
    Scored,
    TopP,
    TopPControl,
    router_entropy,
)


def scored(*rows: list[float]) -> Scored:
    scores = torch.tensor(rows)
    return Scored(scores.log(), scores)


def active(selection: TopP, *rows: list[float]) -> list[int]:
    routing = selection(scored(*rows), num_experts=len(rows[0]))
    return routing.chosen.sum(-1).tolist()


def test_the_expert_that_crosses_the_threshold_belongs_to_the_set() -> None:
    routing = TopP(0.6)(scored([0.5, 0.3, 0.2], [0.1, 0.2, 0.7]), num_experts=3)
    assert routing.chosen.tolist() == [[True, True, False], [False, False, True]]
    torch.testing.assert_close(
        routing.dense_weight, torch.tensor([[0.5, 0.3, 0.0], [0.0, 0.0, 0.7]])
    )


def test_the_comparison_is_strict_and_rounding_takes_all() -> None:
    assert active(TopP(0.5), [0.5, 0.25, 0.25]) == [2]
    assert active(TopP(0.4999), [0.5, 0.25, 0.25]) == [1]
    assert active(TopP(1.0), [0.5, 0.25, 0.25]) == [3]


def test_bounds_and_renormalisation() -> None:
    assert active(TopP(0.9, max_k=2), [0.4, 0.3, 0.3]) == [2]
    assert active(TopP(0.1, min_k=2), [0.4, 0.3, 0.3]) == [2]
    routing = TopP(0.6, renormalize=True)(scored([0.4, 0.4, 0.2]), num_experts=3)
    torch.testing.assert_close(routing.dense_weight, torch.tensor([[0.5, 0.5, 0.0]]))
    with pytest.raises(InputError, match="min_k <= max_k"):
        TopP(0.5, min_k=3, max_k=2)


def test_it_needs_probabilities() -> None:
    with pytest.raises(InputError, match="TopP needs scores from softmax"):
        Router(LinearScore(4, 3), TopP(), activation="sigmoid")


def test_the_entropy_of_a_uniform_distribution_is_its_logarithm() -> None:
    routing = TopP(0.4)(scored([0.25] * 4, [0.25] * 4), num_experts=4)
    torch.testing.assert_close(router_entropy([routing]), torch.tensor(4.0).log())
    torch.testing.assert_close(RouterEntropy()([routing]), torch.tensor(4.0).log())


def test_the_controller_reaches_two_active_experts() -> None:
    torch.manual_seed(0)
    router = Router(LinearScore(16, 8, std=0.5), TopP(0.9)).eval()
    control = TopPControl(2.0)
    means = []
    for _ in range(500):
        with torch.no_grad():
            statistics = LayerStatistics.of([router(torch.randn(128, 16))])
        control.step({"": router}, {"": statistics})
        means.append(float(statistics.mean_active))
    assert abs(sum(means[-50:]) / 50 - 2.0) < 0.1
    assert max(means[-50:]) < 2.4


def test_normalised_logits_need_one_threshold_whatever_their_size() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 16)
    score, normalization = LinearScore(16, 8), LogitNormalization(1.5)
    router = Router(score, TopP(0.6), adjustments=[normalization])
    small = router(x)
    with torch.no_grad():
        score.weight.mul_(20)
    large = router(x)
    torch.testing.assert_close(large.scores, small.scores, atol=1e-3, rtol=0)
    large.weight.square().sum().backward()
    assert normalization.scale.grad is not None
    assert float(normalization.scale.grad.abs()) > 0


def test_equal_logits_stay_finite_when_normalised() -> None:
    logits = torch.full((2, 4), 3.0, requires_grad=True)
    normalised = LogitNormalization().on_logits(logits, LinearScore(4, 4))
    assert torch.equal(normalised, torch.zeros(2, 4))
    (grad,) = torch.autograd.grad(normalised.sum(), logits)
    assert bool(grad.isfinite().all())


def test_the_threshold_is_saved_and_keeps_its_precision() -> None:
    selection = TopP(0.4)
    selection.p.fill_(0.4321)
    other = TopP(0.9).bfloat16()
    other.load_state_dict(selection.state_dict())
    assert other.p.dtype == torch.float32
    assert float(other.p) == float(selection.p)
