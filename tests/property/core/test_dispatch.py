"""Every dispatch does the same work: outputs and all gradients on random plans."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mixtura.core import Experts, GLUExperts, MLPExperts, ModuleExperts, Routing
from mixtura.core.dispatch import dispatch_by_name
from mixtura.core.dispatch.chunks import chunks_of
from mixtura.core.experts.activations import ACTIVATIONS, activate_, activation_function

DISPATCHES = ("sorted_loop", "stacked_loop", "padded_bmm", "grouped_mm", "dense_all", "auto")
KINDS = {
    "glu": lambda experts, dim: GLUExperts(experts, dim, 12, out_dim=8, bias=True),
    "mlp": lambda experts, dim: MLPExperts(experts, dim, 12, out_dim=8, activation="gelu_tanh"),
    "modules": lambda experts, dim: ModuleExperts([nn.Linear(dim, 8) for _ in range(experts)]),
}


@st.composite
def sizes(draw) -> dict:
    """Sizes that are easy to get wrong."""
    experts = draw(st.integers(1, 5))
    return {
        "seed": draw(st.integers(0, 2**16)),
        "experts": experts,
        "choices": draw(st.sampled_from([1, experts, min(2, experts)])),
        "units": draw(st.sampled_from([0, 1, 7, 33])),
        "dim": draw(st.sampled_from([3, 8])),
        "rest": draw(st.sampled_from([(), (3,)])),
        "kind": draw(st.sampled_from(sorted(KINDS))),
        "all_on_one": draw(st.booleans()),
        "zero_weights": draw(st.booleans()),
        "masked": draw(st.booleans()),
    }


def plan_of(size: dict) -> tuple[Experts, Tensor, Tensor, Tensor, Tensor | None]:
    """Experts, units, choices, weights and a mask."""
    torch.manual_seed(size["seed"])
    units, experts, choices = size["units"], size["experts"], size["choices"]
    bank = KINDS[size["kind"]](experts, size["dim"])
    index = torch.rand(units, experts).argsort(-1)[:, :choices]
    if size["all_on_one"]:
        index = torch.arange(choices).expand(units, choices)  # the others have nothing to do
    weight = torch.rand(units, choices)
    if size["zero_weights"]:
        weight = weight * (torch.rand(units, choices) > 0.5)
    mask = torch.rand(units) > 0.5 if size["masked"] else None
    return bank, torch.randn(units, *size["rest"], size["dim"]), index, weight, mask


def results(name: str, plan: tuple, grad: Tensor | None) -> tuple[list[Tensor], Tensor]:
    """Output and gradients of one dispatch."""
    bank, x, index, weight, mask = plan
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    routing = Routing.from_choices(index, weight, num_experts=bank.num_experts, mask=mask)
    y = dispatch_by_name(name)(bank, x, routing)
    grad = torch.randn_like(y) if grad is None else grad
    inputs = [x, weight, *bank.parameters()]
    found = torch.autograd.grad(y, inputs, grad, allow_unused=True, materialize_grads=True)
    return [y.detach(), *found], grad


@given(size=sizes())
@settings(max_examples=25)
def test_all_dispatches_agree(size: dict) -> None:
    plan = plan_of(size)
    expected, grad = results("naive", plan, None)
    got = {name: results(name, plan, grad)[0] for name in DISPATCHES}
    torch.testing.assert_close(got, dict.fromkeys(DISPATCHES, expected), atol=1e-5, rtol=1e-5)


@given(size=sizes())
@settings(max_examples=10)
def test_masked_units_get_zeros_whatever_they_hold(size: dict) -> None:
    bank, x, index, weight, _ = plan_of(size)
    mask = torch.arange(len(x)) % 2 == 0
    x = torch.where(mask.view(-1, *[1] * (x.ndim - 1)), x, torch.nan)
    routing = Routing.from_choices(index, weight, num_experts=bank.num_experts, mask=mask)
    for name in ("naive", "sorted_loop", "stacked_loop", "padded_bmm", "grouped_mm"):
        y = dispatch_by_name(name)(bank, x, routing)
        assert not y[~mask].any()
        assert y.isfinite().all()


@pytest.mark.parametrize("name", ["sorted_loop", "stacked_loop", "padded_bmm", "grouped_mm"])
@pytest.mark.parametrize("kind", ["glu", "mlp"])
def test_derivatives_of_first_and_second_order(name: str, kind: str) -> None:
    torch.manual_seed(0)
    bank = KINDS[kind](3, 4).double()
    index = torch.rand(5, 3).argsort(-1)[:, :2]
    names, values = zip(*bank.named_parameters(), strict=True)

    def work(x: Tensor, weight: Tensor, *parameters: Tensor) -> Tensor:
        for parameter_name, value in zip(names, parameters, strict=True):
            bank._parameters[parameter_name] = value
        routing = Routing.from_choices(index, weight, num_experts=3)
        return dispatch_by_name(name)(bank, x, routing)

    inputs = [torch.randn(5, 4), torch.rand(5, 2), *values]
    inputs = [value.detach().double().requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(work, inputs)
    assert torch.autograd.gradgradcheck(work, inputs, fast_mode=True)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("kind", [GLUExperts, MLPExperts])
def test_every_activation_has_its_derivative(activation: str, kind: type) -> None:
    torch.manual_seed(0)
    bank = kind(2, 4, 8, activation=activation).double()
    index = torch.arange(6)[:, None] % 2
    plan = (bank, torch.randn(6, 4).double(), index, torch.rand(6, 1).double(), None)
    expected, grad = results("naive", plan, None)
    torch.testing.assert_close(results("stacked_loop", plan, grad)[0], expected)


@pytest.mark.parametrize("name", ["sorted_loop", "stacked_loop", "padded_bmm", "grouped_mm"])
def test_frozen_experts_still_pass_gradients_on(name: str) -> None:
    bank = GLUExperts(3, 8, 12).requires_grad_(False)
    bank.down.requires_grad_()
    x = torch.randn(6, 8, requires_grad=True)
    routing = Routing.from_choices(torch.arange(6)[:, None] % 3, torch.ones(6, 1), num_experts=3)
    dispatch_by_name(name)(bank, x, routing).square().sum().backward()
    assert bank.gate_up.grad is None
    assert bank.down.grad is not None
    assert x.grad is not None


@pytest.mark.parametrize("kind", ["glu", "mlp"])
@pytest.mark.parametrize("rest", [(), (3,)])
def test_experts_cut_into_chunks(kind: str, rest: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    size = {"seed": 3, "experts": 5, "choices": 2, "units": 33, "dim": 8, "rest": rest}
    plan = plan_of(
        {**size, "kind": kind, "all_on_one": False, "zero_weights": True, "masked": True}
    )
    expected, grad = results("naive", plan, None)
    monkeypatch.setattr("mixtura.core.dispatch.chunks.ROWS", 4)
    got, _ = results("stacked_loop", plan, grad)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    bank, x, index, weight, mask = plan
    with torch.no_grad():  # forward overwrites what it made
        routing = Routing.from_choices(index, weight, num_experts=5, mask=mask)
        y = dispatch_by_name("stacked_loop")(bank, x, routing)
    torch.testing.assert_close(y, expected[0], atol=1e-5, rtol=1e-5)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 3), st.booleans())
@settings(max_examples=50)
def test_chunks_cover_all_rows_once(counts: list[int], inner: int, cut: bool) -> None:
    chunks = chunks_of(counts, inner, cut=cut, rows=12)
    rows = [0] * len(counts)
    for start, stop, layout in chunks:
        assert sum(layout.sizes) == (stop - start) * inner
        for expert, size, first in zip(layout.experts, layout.sizes, layout.first, strict=True):
            assert first == (rows[expert] == 0)
            rows[expert] += size
    assert rows == [count * inner for count in counts]
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks)][
        : len(chunks)
    ]
    if not cut:
        assert sum(len(chunk.layout.sizes) for chunk in chunks) == sum(c > 0 for c in counts)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_is_overwritten_right(activation: str) -> None:
    x = torch.randn(6, 8)
    expected = activation_function(activation)(x)
    both = torch.cat([x, x], 1)
    torch.testing.assert_close(activate_(activation, both[:, :8]), expected)
    torch.testing.assert_close(both, torch.cat([expected, x], 1))
