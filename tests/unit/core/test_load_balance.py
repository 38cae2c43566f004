"""The load-balance loss: values computed by hand."""

import pytest
import torch

from mixtura.core import InputError, LinearScore, LoadBalance, Router, Routing, TopK, load_balance


def routing(index: list, scores: list, valid: list | None = None, mask: list | None = None):
    return Routing.from_choices(
        torch.tensor(index),
        torch.ones(len(index), len(index[0])),
        None if valid is None else torch.tensor(valid),
        num_experts=len(scores[0]),
        mask=None if mask is None else torch.tensor(mask),
        scores=torch.tensor(scores),
    )


UNIFORM = [[0.25] * 4] * 4
BALANCED = routing([[0, 1], [1, 2], [2, 3], [3, 0]], UNIFORM)


@pytest.mark.parametrize(("normalization", "value"), [("one", 1.0), ("k", 2.0), ("units_k", 1.0)])
def test_perfect_balance(normalization, value):
    assert load_balance([BALANCED], normalization=normalization).item() == pytest.approx(value)


def test_collapse_costs_the_number_of_experts():
    collapsed = routing([[1]] * 4, [[0.0, 1.0, 0.0, 0.0]] * 4)
    assert load_balance([collapsed]).item() == pytest.approx(4.0)
    assert load_balance([collapsed], normalization="k").item() == pytest.approx(4.0)


def test_padding_counts_nowhere():
    padded = routing(
        [[0, 1], [1, 2], [2, 3], [3, 0], [0, 0]], [*UNIFORM, [1.0, 0, 0, 0]],
        mask=[True] * 4 + [False],
    )  # fmt: skip
    for normalization in ("one", "k", "units_k"):
        torch.testing.assert_close(
            load_balance([padded], normalization=normalization),
            load_balance([BALANCED], normalization=normalization),
        )


def test_dropped_choices_tell_the_normalizations_apart():
    dropped = routing([[0, 1], [1, 0]], [[0.5, 0.5]] * 2, valid=[[True, False], [True, False]])
    assert load_balance([dropped], normalization="one").item() == pytest.approx(1.0)
    assert load_balance([dropped], normalization="k").item() == pytest.approx(1.0)
    assert load_balance([dropped], normalization="units_k").item() == pytest.approx(0.5)


def test_layers_are_pooled_before_they_are_multiplied():
    left = routing([[0]] * 2, [[1.0, 0.0]] * 2)
    right = routing([[1]] * 2, [[0.0, 1.0]] * 2)
    assert load_balance([left, right]).item() == pytest.approx(1.0)  # the imbalances cancel
    assert load_balance([left]).item() == pytest.approx(2.0)


def test_gradient_flows_through_the_scores_alone():
    router = Router(LinearScore(3, 4), TopK(2))
    load_balance([router(torch.randn(8, 3))]).backward()
    assert router.score_function.weight.grad.abs().sum() > 0


def test_renormalised_top1_weights_give_the_router_no_task_gradient():
    for renormalize, has_gradient in [("always", False), ("if_k>1", True), ("never", True)]:
        router = Router(LinearScore(3, 4), TopK(1, renormalize=renormalize))
        router(torch.randn(8, 3)).weight.square().sum().backward()
        assert (router.score_function.weight.grad.abs().max() > 1e-6) == has_gradient


def test_senseless_settings_are_refused():
    with pytest.raises(InputError, match="must be at least 0"):
        LoadBalance(-1.0)
    with pytest.raises(InputError, match="at least one routing"):
        load_balance([])
