"""Solvers: order, status, independence, gradients."""

import math

import pytest
import torch
from torch import Tensor

from mixtura.core import InputError
from mixtura.dynamics import GEPS, RK4, AdaptiveTsit5, MixER, Status, TorchDiffEq, Tsit5
from mixtura.dynamics.solvers.tableau import TSIT5_TABLEAU, tsit5_interpolant


def lorenz(_: Tensor, x: Tensor) -> Tensor:
    a, b, c = x.unbind(-1)
    return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


def forced(t: Tensor, x: Tensor) -> Tensor:
    return x * torch.cos(t)


GRID = torch.linspace(0, 3, 7, dtype=torch.float64)


@pytest.mark.parametrize(("solver", "order"), [(RK4, 4), (Tsit5, 5)])
def test_fixed_steps_have_their_order_on_a_field_that_depends_on_time(solver, order) -> None:
    exact = torch.exp(torch.sin(GRID))
    errors = []
    for substeps in (2, 4):
        x0 = torch.ones(1, 1, 1, dtype=torch.float64)
        states = solver(substeps)(forced, x0, GRID).states[0, 0, :, 0]
        errors.append(float((states - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) > order - 0.6


def test_the_interpolant_ends_in_the_weights() -> None:
    one = torch.ones((), dtype=torch.float64)
    expected = torch.tensor(TSIT5_TABLEAU.weights, dtype=torch.float64)
    torch.testing.assert_close(tsit5_interpolant(one), expected, rtol=0, atol=1e-12)
    assert float(tsit5_interpolant(0 * one).abs().max()) == 0


def test_dense_output_is_as_accurate_as_the_tolerance() -> None:
    t = torch.linspace(0, 6, 41, dtype=torch.float64)
    x0 = torch.ones(1, 1, 1, dtype=torch.float64)
    solution = AdaptiveTsit5(1e-8, 1e-10)(forced, x0, t)
    error = (solution.states[0, 0, :, 0] - torch.exp(torch.sin(t))).abs().max()
    assert float(error) < 1e-6
    assert int(solution.num_steps[0, 0]) < 80


def test_a_trajectory_does_not_depend_on_its_companions() -> None:
    random = torch.Generator().manual_seed(0)
    x0 = torch.randn(4, 3, 3, generator=random, dtype=torch.float64) * 5
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    together = AdaptiveTsit5()(lorenz, x0, t).states
    for unit in range(4):
        for n in range(3):
            alone = AdaptiveTsit5()(lorenz, x0[unit : unit + 1, n : n + 1], t).states
            torch.testing.assert_close(together[unit, n], alone[0, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [RK4(10), AdaptiveTsit5()])
def test_an_explosion_is_reported_with_environment_and_time(solver) -> None:
    x0 = torch.tensor([[[1.0]], [[-1.0]]])
    solution = solver(lambda _, x: x * x, x0, torch.linspace(0, 2, 5))
    assert solution.status.tolist() == [[Status.NOT_FINITE], [Status.OK]]
    assert bool(solution.states.isfinite().all())
    (sentence,) = solution.failures()
    assert sentence.startswith("environment 0, trajectory 0 grew beyond the bound at t = 1")


def test_a_solver_that_runs_out_of_steps_says_so() -> None:
    x0 = torch.ones(1, 1, 3)
    solution = AdaptiveTsit5(max_steps=4)(lorenz, x0, torch.linspace(0, 2, 5))
    assert solution.status.tolist() == [[Status.MAX_STEPS]]
    assert float(solution.stopped_at) < 2


def test_environments_may_have_time_grids_of_their_own() -> None:
    t = torch.tensor([[0.0, 0.3, 1.0], [0.0, 1.0, 4.0]])
    x0 = torch.ones(2, 1, 1)
    for solver in (RK4(20), AdaptiveTsit5(1e-5, 1e-7)):
        states = solver(lambda _, x: -x, x0, t).states[:, 0, :, 0]
        torch.testing.assert_close(states, torch.exp(-t), rtol=1e-4, atol=1e-5)


def test_checkpointing_changes_nothing() -> None:
    rate = torch.tensor(0.7, requires_grad=True)
    gradients = []
    for every in (0, 2):
        solution = RK4(3, checkpoint_every=every)(
            lambda _, x: -rate * x, torch.ones(2, 2, 1), torch.linspace(0, 1, 8)
        )
        gradients.append(torch.autograd.grad(solution.states.sum(), rate)[0])
    torch.testing.assert_close(*gradients)


def test_gradients_pass_through_the_adaptive_solver() -> None:
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    t = torch.linspace(0, 1, 4, dtype=torch.float64)
    x0 = torch.ones(1, 1, 1, dtype=torch.float64)
    states = AdaptiveTsit5(1e-8, 1e-10)(lambda _, x: -rate * x, x0, t).states
    (gradient,) = torch.autograd.grad(states[0, 0, -1, 0], rate)
    assert float(gradient) == pytest.approx(-math.exp(-0.7), abs=1e-6)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_torchdiffeq_agrees_and_differentiates(method: str) -> None:
    pytest.importorskip("torchdiffeq", reason="torchdiffeq is an extra")
    torch.manual_seed(0)
    mixer = MixER(GEPS(2, 2, 4, width=8, same_init=False)).double()
    contexts = (0.3 * torch.randn(3, 4, dtype=torch.float64)).requires_grad_()
    x0 = torch.randn(3, 2, 2, dtype=torch.float64)
    t = torch.linspace(0, 1, 5, dtype=torch.float64) * torch.tensor([[1.0], [2.0], [0.5]])
    results = []
    for solver in (TorchDiffEq(method, 1e-9, 1e-11), AdaptiveTsit5(1e-9, 1e-11)):
        solution = mixer(contexts, x0, t, solver=solver)
        assert bool(solution.ok.all())
        gradient = torch.autograd.grad(solution.states.square().sum(), contexts)[0]
        results.append((solution.states, gradient))
    # rk4 takes one step per interval, whatever the tolerance
    tolerance = 1e-6 if method == "dopri5" else 1e-3
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    with pytest.raises(InputError, match="same relative time grid"):
        TorchDiffEq()(forced, x0, t**2 * torch.tensor([[1.0], [0.3], [1.0]]) + t)


@pytest.mark.parametrize("times", [[0.0, 1.0, 1.0], [0.0, 2.0, 1.0]])
def test_times_that_do_not_increase_are_refused(times: list[float]) -> None:
    with pytest.raises(InputError, match="strictly increase"):
        RK4()(lorenz, torch.ones(1, 1, 3), torch.tensor(times))
