"""Every registered bank of experts over random sizes, and its gradients in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixtura.core import Routing, combine
from mixtura.core.dispatch import dispatch_by_name
from mixtura.core.testing import EXPERTS, ExpertsCase

NOT_DIFFERENTIABLE = {"embedding": "ids have no derivative"}


@pytest.mark.parametrize("case", list(EXPERTS), ids=lambda case: case.name)
@settings(max_examples=6)
@given(data=st.data())
def test_a_dispatch_is_the_mixture_of_all(case: ExpertsCase, data: st.DataObject) -> None:
    experts = data.draw(st.integers(1, 4), label="experts")
    k = data.draw(st.integers(1, experts), label="k")
    units = data.draw(st.sampled_from([0, 1, 7]), label="units")
    bank = case.seeded(experts).eval()
    if "one_by_one" in case.excused:
        return
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=units, max_size=units))).bool()
    index = torch.rand(units, experts).argsort(-1)[:, :k]
    if data.draw(st.booleans(), label="all on the first ones"):
        index = torch.arange(k).expand(units, k)  # the other experts stay empty
    weight = torch.rand(units, k) * data.draw(st.sampled_from([0.0, 1.0]), label="weights")
    routing = Routing.from_choices(index, weight, num_experts=experts, mask=mask)
    x = case.inputs(units)
    y = dispatch_by_name(data.draw(st.sampled_from(["auto", "sorted_loop", "naive"])))(
        bank, x, routing
    )
    assert torch.isfinite(y).all()
    assert not y[~mask].any()
    if units:
        torch.testing.assert_close(y, combine(bank.all(x), routing), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "case",
    [case for case in EXPERTS if case.name not in NOT_DIFFERENTIABLE],
    ids=lambda case: case.name,
)
def test_gradients(case: ExpertsCase) -> None:
    torch.manual_seed(0)
    bank = case.seeded(3).double().eval()
    for parameter in bank.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    index = torch.tensor([[0, 2], [2, 0], [0, 2]])[:, :2]
    weight = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    x = case.inputs(3).double().requires_grad_()
    if "one_by_one" in case.excused:
        x = torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in bank.named_parameters()]
    values = [value.detach().clone().requires_grad_() for value in bank.parameters()]

    def run(rows, gates, *weights):
        routing = Routing.from_choices(index, gates, num_experts=3)
        call = Carried(bank, routing)
        return torch.func.functional_call(
            call, {f"bank.{n}": w for n, w in zip(names, weights, strict=True)}, (rows,)
        )

    # Along a random direction of all inputs and outputs at once.
    assert torch.autograd.gradcheck(run, (x, weight, *values), atol=1e-4, fast_mode=True)


class Carried(torch.nn.Module):
    """A bank with a fixed decision."""

    def __init__(self, bank, routing):
        super().__init__()
        self.bank = bank
        self.routing = routing

    def forward(self, x):
        if self.bank.prefers_mix:
            return self.bank.mix(x, self.routing)
        return self.routing.combine(self.bank(self.routing.gather(x), self.routing))
