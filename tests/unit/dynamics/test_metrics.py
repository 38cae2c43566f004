"""Metrics with values computed by hand, and on Lorenz-63."""

import math

import numpy as np
import pytest
import torch

from mixtura.core import InputError
from mixtura.datasets.dynamics import Environments, chaotic_series
from mixtura.dynamics import (
    CAVIA,
    RK4,
    MixER,
    Reconstruction,
    attractor_scores,
    largest_exponent,
    long_term_scores,
)
from mixtura.dynamics.metrics import (
    family_recovery,
    lyapunov_of_data,
    lyapunov_of_field,
    lyapunov_of_map,
    mape,
    mase,
    mse,
    parameter_r2,
    power_spectrum_distance,
    purity,
    rel_l2,
    rel_sq_pointwise,
    state_space_divergence,
    state_space_divergence_gmm,
    valid_prediction_time,
)

from .systems import rotations, small_system

# torch scripts a few derivatives when its forward mode is first used
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


def lorenz(x: torch.Tensor) -> torch.Tensor:
    a, b, c = x.unbind(-1)
    return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


def henon(x: torch.Tensor) -> torch.Tensor:
    a, b = x.unbind(-1)
    return torch.stack([1 - 1.4 * a * a + b, 0.3 * a], -1)


def test_errors_by_hand() -> None:
    true = torch.tensor([[[[3.0, 4.0], [0.0, 2.0]]]])
    predicted = true + torch.tensor([0.0, 1.0])
    assert float(mse(predicted, true)) == pytest.approx(0.5)
    assert float(rel_l2(predicted, true)) == pytest.approx((2 / 29) ** 0.5)
    assert float(rel_sq_pointwise(predicted, true)) == pytest.approx((1 / 25 + 1 / 4) / 2)
    assert float(mape(predicted, true[..., :] + 0)) == pytest.approx(100 * (1 / 4 + 1 / 2) / 4)


def test_family_scores() -> None:
    family = torch.tensor([0, 0, 1, 1])
    expert = torch.tensor([2, 2, 0, 2])
    assert purity(expert, family) == 0.75
    perfect = family_recovery(torch.tensor([1, 1, 0, 0]), family, 2, torch.eye(4))
    assert perfect["purity"] == perfect["ari"] == 1.0
    assert perfect["expert_entropy"] == pytest.approx(1.0)
    contexts = torch.arange(8.0).view(8, 1)
    scores = parameter_r2(contexts, 2 * contexts + 1, torch.zeros(8, dtype=torch.long))
    assert scores[0] == pytest.approx(1.0)


def test_lyapunov_exponent_of_a_linear_map() -> None:
    rates = torch.tensor([2.0, 0.5])
    exponent = lyapunov_of_map(lambda x: rates * x, torch.zeros(2), 60, dt=0.5, transient=20)
    assert exponent == pytest.approx(2 * math.log(2), abs=1e-4)


def test_lyapunov_exponent_of_lorenz63() -> None:
    starts = torch.from_numpy(chaotic_series("lorenz63", 6400)).double()[::100]
    exponent = lyapunov_of_field(lorenz, starts, 0.02, 1200, 100)
    assert exponent == pytest.approx(0.9056, abs=0.03)


def test_lyapunov_exponent_of_henon() -> None:
    starts = 0.1 * torch.rand(64, 2, generator=torch.manual_seed(0), dtype=torch.float64)
    assert lyapunov_of_map(henon, starts, 1000, transient=50) == pytest.approx(0.419, abs=0.01)


def test_metrics_tell_an_attractor_from_another() -> None:
    x = torch.from_numpy(chaotic_series("lorenz63", 8000, 1000))
    one, other = x[:4000], x[4000:]
    assert float(state_space_divergence(one, one)) == pytest.approx(0.0, abs=1e-6)
    squeezed = other * torch.tensor([0.5, 0.5, 0.5])
    assert float(state_space_divergence(squeezed, one, 15)) > float(
        state_space_divergence(other, one, 15)
    )
    assert float(state_space_divergence_gmm(squeezed, one)) > float(
        state_space_divergence_gmm(other, one)
    )
    slow = other[::2]
    assert float(power_spectrum_distance(slow, one)) > float(power_spectrum_distance(other, one))
    assert lyapunov_of_data(x, 0.01, 300, 100, 50) == pytest.approx(0.9, abs=0.2)
    with pytest.raises(InputError, match="too many cells"):
        state_space_divergence(torch.randn(9, 8), torch.randn(9, 8))


def test_prediction_horizon() -> None:
    t = torch.linspace(0, 10, 101)
    true = torch.stack([t.sin(), t.cos()], 1)
    forecast = true.clone()
    forecast[40:] += 1.0
    assert valid_prediction_time(forecast, true, 0.1) == pytest.approx(4.0)
    assert valid_prediction_time(true, true, 0.1, lyapunov=2.0) == pytest.approx(20.0)
    assert float(mase(true, true)) == 0
    scale = np.abs(np.diff(true.numpy(), axis=0)).mean(0)
    expected = float((1.0 / scale).mean())
    assert float(mase(true + 1.0, true)) == pytest.approx(expected, rel=1e-4)


def test_an_error_smaller_by_a_factor_of_e_is_valid_a_lyapunov_time_longer() -> None:
    starts = torch.from_numpy(chaotic_series("lorenz63", 6400)).double()[::100]
    wrong = 1e-2 * torch.randn(starts.shape, generator=torch.manual_seed(0), dtype=starts.dtype)
    t, solver = torch.arange(0, 16, 0.02).double(), RK4()

    def run(x0: torch.Tensor) -> torch.Tensor:
        return solver(lambda t, x: lorenz(x), x0[None], t).states[0]

    true = run(starts)
    horizons = [
        np.mean(
            [
                valid_prediction_time(one, other, 0.02, lyapunov=0.9056)
                for one, other in zip(run(starts + scale * wrong), true, strict=True)
            ]
        )
        for scale in (1.0, math.exp(-4))
    ]
    assert horizons[1] - horizons[0] == pytest.approx(4.0, abs=0.5)


def test_long_term_scores_of_a_system() -> None:
    system, data = small_system(1, experts=1), rotations([1.0], times=400)
    long = Environments(data.x[:, :1].numpy(), data.t.numpy())
    (scores,) = long_term_scores(system, long, steps=16)
    names = {"d_stsp", "d_hellinger", "mase", "valid_prediction_time"}
    assert set(scores) == names | {"lyapunov_of_data", "lyapunov_of_model"}
    assert all(math.isfinite(score) for score in scores.values())
    x = data.x[0, 0]
    perfect = attractor_scores(x, x, 0.1, bins=10)
    assert perfect["d_stsp"] == pytest.approx(0, abs=1e-6)
    assert perfect["mase"] == 0
    assert perfect["valid_prediction_time"] == pytest.approx(39.9)


def test_the_exponent_of_a_learnt_linear_field() -> None:
    torch.manual_seed(0)
    experts = CAVIA(1, 2, 1, width=4, activation="relu")
    with torch.no_grad():
        for layer in range(3):
            experts.main.weights[layer].zero_()
            experts.main.biases[layer].zero_()
        # relu(x) - relu(-x) = x, so that the field is 0.5 x
        experts.main.weights[0][0, :2, 0] = torch.tensor([1.0, -1.0])
        experts.main.weights[0][0, 2:, 1] = torch.tensor([1.0, -1.0])
        experts.main.weights[1][0] = torch.eye(4)
        experts.main.weights[2][0] = 0.5 * torch.tensor(
            [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]
        )
    system = Reconstruction(MixER(experts), 1)
    exponent = largest_exponent(
        system, 0, torch.tensor([[1e-3, 2e-3]]), 0.01, steps=20, transient=2
    )
    assert exponent == pytest.approx(0.5, abs=1e-3)
