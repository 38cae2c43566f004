"""Compiled layers: no graph break, few compilations, the same numbers, recording included."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from mixtura.core import (
    Experts,
    GLUExperts,
    LinearScore,
    LoadBalance,
    MLPExperts,
    ModuleExperts,
    MoELayer,
    Router,
    TopK,
    record_routing,
)

pytestmark = pytest.mark.compile


KINDS = {
    "glu": lambda: GLUExperts(4, 16, 24, bias=True),
    "mlp": lambda: MLPExperts(4, 15, 23, out_dim=15),  # sizes that are not aligned
    "modules": lambda: ModuleExperts([nn.Linear(16, 16) for _ in range(4)]),
}


def layer_of(experts: Experts, dim: int = 16) -> MoELayer:
    router = Router(LinearScore(dim, 4), TopK(2))
    return MoELayer(router, experts, losses=[LoadBalance(0.01)])


def step(layer: MoELayer, run, x: Tensor) -> dict[str, Tensor]:
    """Output, losses and gradients of one training step with a record open."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with record_routing(layer) as record:
        y = run(x)
        losses = record.losses()
        (y.square().sum() + sum(losses.values())).backward()
    assert len(record.calls[""]) == 1
    grads = {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}
    return {"y": y.detach(), "x": x.grad, **grads, **{k: v.detach() for k, v in losses.items()}}


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_routings_are_one_compilation(kind: str) -> None:
    torch.manual_seed(0)
    dim = 15 if kind == "mlp" else 16
    layer = layer_of(KINDS[kind](), dim)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for _ in range(20):
        x = torch.randn(5, 7, dim)
        torch.testing.assert_close(
            step(layer, compiled, x), step(layer, layer, x), atol=1e-5, rtol=1e-4
        )
    assert len(graphs) == 1
    with record_routing(layer) as record:  # calls of one record do not depend on their number
        for _ in range(12):
            compiled(torch.randn(5, 7, dim))
    assert len(record.calls[""]) == 12
    assert len(graphs) == 2  # the input wants no gradient now


@pytest.mark.parametrize("kind", ["glu", "mlp"])
def test_traced_backward(kind: str) -> None:
    torch.manual_seed(0)
    dim = 15 if kind == "mlp" else 16
    layer = layer_of(KINDS[kind](), dim)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(5, 7, dim)
    torch.testing.assert_close(
        step(layer, compiled, x), step(layer, layer, x), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("early_stop", [True, False])
def test_a_compiled_block_inside_checkpointing(early_stop: bool) -> None:
    torch.manual_seed(0)
    layer = layer_of(KINDS["glu"]())
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(5, 7, 16)
    with set_checkpoint_early_stop(early_stop):
        found = step(layer, lambda x: checkpoint(compiled, x, use_reentrant=False), x)
    torch.testing.assert_close(found, step(layer, layer, x), atol=1e-5, rtol=1e-4)


def test_autocast() -> None:
    torch.manual_seed(0)
    layer = layer_of(KINDS["glu"]()).eval()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(5, 7, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = compiled(x)
        expected = layer(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, atol=0.02, rtol=0.05)
