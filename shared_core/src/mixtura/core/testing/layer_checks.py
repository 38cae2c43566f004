"""What every router has to do inside a layer."""

import warnings
from collections.abc import Callable

import torch

from mixtura.core.experts import MLPExperts
from mixtura.core.layer import MoELayer
from mixtura.core.record import record_routing
from mixtura.core.testing.cases import DIM, RouterCase

__all__ = ["layer_checks"]

UNITS = 12


def build(case: RouterCase) -> MoELayer:
    """A layer of small experts around the case's router."""
    router = case.seeded()
    return MoELayer(router, MLPExperts(router.num_experts, DIM, 16, bias=True))


def check_against_dense(case: RouterCase) -> None:
    """The output is the sum over experts of weight times output, computed the slow way."""
    layer = build(case).eval()
    x = case.inputs(UNITS)
    routing = layer.route(x, **case.context(UNITS, layer.num_experts))
    if not routing.plain:
        return
    outputs = layer.experts.all(x)
    expected = torch.einsum("ue,ued->ud", routing.dense_weight, outputs)
    torch.testing.assert_close(layer.compute(x, routing), expected, atol=1e-5, rtol=1e-4)


def check_gradients(case: RouterCase) -> None:
    """Every expert gets a gradient, zeros if it had no work, and none is NaN."""
    layer = build(case).train()
    x = case.inputs(UNITS).requires_grad_()
    y = layer(x, **case.context(UNITS, layer.num_experts))
    y.square().sum().backward()
    for parameter in layer.experts.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    for parameter in layer.router.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def check_padding(case: RouterCase) -> None:
    """Masked units give exactly zero, and no unit at all gives nothing."""
    layer = build(case).eval()
    x = case.inputs(UNITS)
    mask = torch.arange(UNITS) % 4 > 0
    context = case.context(UNITS, layer.num_experts)
    y = layer(x, mask=mask, **context)
    assert (y[~mask] == 0).all()
    assert torch.isfinite(y).all()
    empty = layer(x[:0], **case.context(0, layer.num_experts))
    assert empty.shape == (0, DIM)


def check_record(case: RouterCase) -> None:
    """A record holds the decision, its statistics and no new operation."""
    layer = build(case).train()
    x = case.inputs(UNITS)
    context = case.context(UNITS, layer.num_experts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(0)
        expected = layer(x, **context)
    layer = build(case).train()
    with record_routing(layer) as record:
        torch.manual_seed(0)
        found = layer(x, **context)
    torch.testing.assert_close(found, expected)
    (statistics,) = record.statistics().values()
    assert int(statistics.num_units) == UNITS
    assert int(statistics.counts.sum()) == int(record.calls[""][0].counts.sum())


layer_checks: list[Callable[[RouterCase], None]] = [
    check_against_dense,
    check_gradients,
    check_padding,
    check_record,
]
