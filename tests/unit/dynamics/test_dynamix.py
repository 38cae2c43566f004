"""DynaMix: shapes, teacher forcing, loss, forecast."""

import pytest
import torch

from mixtura.core import InputError
from mixtura.dynamics import DynaMix, InContextGate, RecurrentExperts
from mixtura.dynamics.dynamix import delay_embedding, stable_diagonal


def small(kind: str = "almost_linear") -> DynaMix:
    torch.manual_seed(0)
    return DynaMix(2, RecurrentExperts(3, 6, 2, 4, kind), InContextGate(3, 6, 2, noise=0.0))


@pytest.mark.parametrize("kind", ["almost_linear", "clipped_shallow"])
def test_the_mixture_is_dense_and_trains(kind: str) -> None:
    model = small(kind)
    context, x = torch.randn(10, 4, 2), torch.randn(8, 4, 2)
    z0 = model.initial_state(x[0])
    routing = model.gate(z0, context, model.gate.features(context))
    torch.testing.assert_close(routing.dense_weight.sum(1), torch.ones(4))
    model.loss(context, x, interleave=2).backward()
    assert model.experts.a.grad.abs().sum() > 0
    assert model.gate.out.bias.grad is None


def test_full_forcing_restarts_from_the_observation() -> None:
    model = small()
    context, x = torch.randn(10, 1, 2), torch.randn(6, 1, 2)
    z0 = model.initial_state(x[0])
    states = model(context, z0, 3, teacher=x, alpha=1.0, interleave=2)
    forced = torch.cat([x[2], states[1][:, 2:]], 1)
    following = model.next_state(forced, context, model.gate.features(context))
    torch.testing.assert_close(states[2], following)


def test_forecast_is_in_the_units_of_the_data() -> None:
    context = 100 + 5 * torch.randn(20, 3, 1)
    forecast = small().forecast(context, 4)
    assert forecast.shape == (4, 3, 1)
    assert float((forecast - 100).abs().max()) < 100
    assert delay_embedding(context, 2).shape == (19, 3, 2)
    with pytest.raises(InputError, match="at most 2 dimensions"):
        small().forecast(torch.randn(9, 1, 3), 2)


def test_the_initial_dynamics_are_stable() -> None:
    diagonal = stable_diagonal(12)
    assert float(diagonal.max()) <= 1.0
    assert float(diagonal.min()) > 0.0
