"""The layer under autocast, checkpointing and gradient accumulation."""

import logging

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from mixtura.core import (
    Experts,
    GLUExperts,
    LinearScore,
    LoadBalance,
    MoELayer,
    Router,
    TopK,
    record_routing,
)

DISPATCHES = ("naive", "sorted_loop", "stacked_loop", "padded_bmm", "grouped_mm", "dense_all")


def layer_of(experts: Experts | None = None, dispatch: str = "auto", dim: int = 16) -> MoELayer:
    torch.manual_seed(0)
    experts = GLUExperts(4, dim, 24, bias=True) if experts is None else experts
    router = Router(LinearScore(dim, experts.num_experts), TopK(2))
    return MoELayer(router, experts, losses=[LoadBalance(0.01)], dispatch=dispatch)


def gradients(layer: MoELayer, loss: Tensor) -> dict[str, Tensor]:
    layer.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_autocast_leaves_the_router_alone(dispatch: str) -> None:
    layer = layer_of(dispatch=dispatch).eval()
    x = torch.randn(10, 16)
    with record_routing(layer) as record:
        precise = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = layer(x)
    first, second = record.calls[""]
    assert torch.equal(first.logits, second.logits)
    assert second.weight.dtype == torch.float32
    assert narrow.dtype == torch.float32  # the input's
    assert not torch.equal(narrow, precise)  # the experts did work in bfloat16
    torch.testing.assert_close(narrow, precise, atol=0.02, rtol=0.05)


def test_autocast_sums_the_choices_in_float32() -> None:
    for dispatch in DISPATCHES[1:5]:
        layer = layer_of(dispatch=dispatch).eval()
        x = torch.randn(40, 16)
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        # a sum in bfloat16 would have 8 bits
        assert not torch.equal(y, y.bfloat16().float()), dispatch


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_checkpointing_changes_nothing(dispatch: str, early_stop: bool) -> None:
    layer = layer_of(dispatch=dispatch)
    x = torch.randn(10, 16)

    def run(checkpointed: bool) -> tuple[dict[str, Tensor], int]:
        with record_routing(layer) as record:
            y = checkpoint(layer, x, use_reentrant=False) if checkpointed else layer(x)
            loss = y.square().sum() + sum(record.losses().values())
            found = gradients(layer, loss)
        return found, len(record.calls[""])

    with set_checkpoint_early_stop(early_stop):
        (plain, once), (again, calls) = run(False), run(True)
    torch.testing.assert_close(again, plain)
    assert once == calls == 1


def test_gradients_accumulate_over_one_record() -> None:
    layer = layer_of()
    x = torch.randn(12, 16)
    with record_routing(layer) as whole:
        together = gradients(layer, layer(x).square().mean() + sum(whole.losses().values()))
    with record_routing(layer) as parts:
        loss = sum(layer(piece).square().mean() / 3 for piece in x.split(4))
        apart = gradients(layer, loss + sum(parts.losses().values()))
    assert parts.statistics()[""].counts.tolist() == whole.statistics()[""].counts.tolist()
    torch.testing.assert_close(apart, together)


class Operations(TorchDispatchMode):
    """Lists every operation that is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_record_adds_no_operation() -> None:
    layer = layer_of().eval()
    x = torch.randn(10, 16)
    with Operations() as closed:
        layer(x)
    with record_routing(layer), Operations() as opened:
        layer(x)
    assert closed.names == opened.names


def test_auto_tells_its_choice_once(caplog: pytest.LogCaptureFixture) -> None:
    layer = layer_of().eval()
    with caplog.at_level(logging.INFO, "mixtura.core.dispatch.auto"):
        layer(torch.randn(10, 16))
        layer(torch.randn(10, 16))
    assert [record.message.split(" for ")[0] for record in caplog.records] == [
        "dispatch grouped_mm"
    ]
