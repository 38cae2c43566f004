"""Recording: every call once, no cost without, losses afterwards."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mixtura.core import (
    InputError,
    LinearScore,
    LoadBalance,
    MLPExperts,
    MoELayer,
    Router,
    TopK,
    load_balance,
    record_routing,
)


class Block(nn.Module):
    """A residual block with an MoE layer."""

    def __init__(self, losses=()) -> None:
        super().__init__()
        router = Router(LinearScore(6, 3), TopK(2))
        self.moe = MoELayer(router, MLPExperts(3, 6, 8), losses=losses)

    def forward(self, x):
        return x + self.moe(x)


def blocks(*losses) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Block(losses), Block(losses))


def test_every_call_of_every_layer_is_kept():
    model, x = blocks(), torch.randn(5, 6)
    with record_routing(model) as record:
        model(x)
        model(x[:2])
    assert list(record.calls) == ["0.moe", "1.moe"]
    assert [call.num_units for call in record.calls["1.moe"]] == [5, 2]
    model(x)
    assert len(record.calls["0.moe"]) == 2  # closed


def test_records_nest():
    model, x = blocks(), torch.randn(5, 6)
    with record_routing(model) as outer:
        model(x)
        with record_routing(model) as inner:
            model(x)
        model(x)
    assert len(outer.calls["0.moe"]) == 3
    assert len(inner.calls["0.moe"]) == 1


def test_losses_are_named_weighted_and_scoped():
    layer_loss = LoadBalance(0.5)
    model_loss = LoadBalance(0.25, normalization="k", scope="model")
    model, x = blocks(layer_loss, model_loss), torch.randn(5, 6)
    with record_routing(model) as record:
        model(x)
    losses, calls = record.losses(), record.calls
    assert list(losses) == ["load_balance/0.moe", "load_balance/1.moe", "load_balance"]
    torch.testing.assert_close(losses["load_balance/1.moe"], 0.5 * load_balance(calls["1.moe"]))
    pooled = load_balance([*calls["0.moe"], *calls["1.moe"]], normalization="k")
    torch.testing.assert_close(losses["load_balance"], 0.25 * pooled)


def gradients(model: nn.Module, x: torch.Tensor, *, checkpointed: bool, inside: bool):
    model.zero_grad()
    with record_routing(model) as record:
        y = x
        for block in model:
            y = checkpoint(block, y, use_reentrant=False) if checkpointed else block(y)
        loss = y.square().sum() + sum(record.losses().values())
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    counts = {name: len(calls) for name, calls in record.calls.items()}
    assert counts == {"0.moe": 1, "1.moe": 1}
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("early_stop", [True, False])
def test_checkpointing_counts_once_and_gives_the_same_gradients(inside, early_stop):
    model, x = blocks(LoadBalance(1.0)), torch.randn(5, 6)
    plain = gradients(model, x, checkpointed=False, inside=inside)
    with torch.utils.checkpoint.set_checkpoint_early_stop(early_stop):
        again = gradients(model, x, checkpointed=True, inside=inside)
    torch.testing.assert_close(again, plain)


def test_recording_without_gradients_in_training_is_refused():
    model, x = blocks(), torch.randn(5, 6, requires_grad=True)
    with record_routing(model), pytest.raises(RuntimeError, match="use_reentrant=False"):
        checkpoint(model, x, use_reentrant=True)
    with record_routing(model) as record, torch.no_grad():
        model.eval()(x)
    assert record.calls["0.moe"][0].num_units == 5


def test_losses_without_a_record_warn_once():
    model, x = blocks(LoadBalance(1.0)), torch.randn(5, 6)
    with pytest.warns(UserWarning, match="auxiliary losses are configured") as caught:
        model(x)
    assert len(caught) == 2  # one per layer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(x)
        model.eval()(x)


def test_nothing_is_stored_without_a_record():
    model = blocks()
    model(torch.randn(5, 6))
    assert all(block.moe._sink is None for block in model)


def test_a_model_without_moe_layers_is_refused():
    with pytest.raises(InputError, match="no MoELayer"), record_routing(nn.Linear(2, 2)):
        pass


def test_statistics_count_all_calls():
    model, x = blocks(), torch.randn(5, 6)
    with record_routing(model) as record:
        model(x)
        model(x)
    statistics = record.statistics()["0.moe"]
    assert statistics.counts.sum() == 20
    assert statistics.num_units == 10
    assert statistics.mean_active == 2
    torch.testing.assert_close(statistics.load.sum(), torch.tensor(1.0))
