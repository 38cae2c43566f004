"""Every registered loss over random sizes: finite, blind to padding, and right in its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixtura.core import MLPExperts, MoELayer, record_routing
from mixtura.core.testing import LOSSES, LossCase, loss_and_gradients

# What jumps, draws anew or counts without a gradient has no derivative to compare with.
JUMPS = {
    "mixture_fit": "components are placed in training",
    "smooth_load": "the noise is drawn again",
    "probed_orthogonality": "the probe is drawn again",
    "capacity_prediction": "the predictor does not pass the input's gradient on",
}


@pytest.mark.parametrize("case", list(LOSSES), ids=lambda case: case.name)
@settings(max_examples=10)
@given(data=st.data())
def test_finite_and_blind_to_padding(case: LossCase, data: st.DataObject) -> None:
    experts = data.draw(st.integers(2, 6), label="experts")
    k = data.draw(st.integers(1, experts), label="k")
    units = data.draw(st.integers(0, 9), label="units")
    scale = data.draw(st.sampled_from([0.0, 1.0, 1e3, 1e6]), label="scale")
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=units, max_size=units))).bool()
    x = scale * torch.randn(units, 8, generator=torch.Generator().manual_seed(units))
    term, gradients = loss_and_gradients(case, x, experts=experts, k=k, mask=mask)
    assert torch.isfinite(term)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if "padding" not in case.excused and scale <= 1:
        garbage = torch.where(mask[:, None], x, 3.0)
        other, _ = loss_and_gradients(case, garbage, experts=experts, k=k, mask=mask)
        torch.testing.assert_close(other, term)


@pytest.mark.parametrize(
    "case", [case for case in LOSSES if case.name not in JUMPS], ids=lambda case: case.name
)
def test_gradients(case: LossCase) -> None:
    torch.manual_seed(0)
    layer = MoELayer(case.router(3, 2), MLPExperts(3, 8, 4), losses=[case.build(3, 2)]).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    parameters = [p for p in layer.parameters() if p.requires_grad]

    def term(*values: torch.Tensor) -> torch.Tensor:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value.detach()
        with record_routing(layer) as record:
            layer(x, **case.context(5))
        (found,) = record.losses().values()
        return found

    numeric, exact = (
        [],
        torch.autograd.grad(
            term(*parameters), parameters, allow_unused=True, materialize_grads=True
        ),
    )
    direction = [torch.randn_like(p) for p in parameters]
    with torch.no_grad():
        start = [p.clone() for p in parameters]
    for sign in (1, -1):
        moved = [s + sign * 1e-6 * d for s, d in zip(start, direction, strict=True)]
        numeric.append(float(term(*moved).detach()))
    slope = (numeric[0] - numeric[1]) / 2e-6
    expected = sum(float((g * d).sum()) for g, d in zip(exact, direction, strict=True))
    assert slope == pytest.approx(expected, rel=1e-4, abs=1e-7)
