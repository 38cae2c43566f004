"""Recurrent experts: driven and free, expanded in the context, trained like vector fields."""

from math import factorial

import pytest
import torch

from mixtura.core import InputError
from mixtura.dynamics import (
    PAM,
    RK4,
    Adaptation,
    Iteration,
    MixER,
    Objective,
    Reconstruction,
    SequenceObjective,
    ShPLRNN,
    Stage,
    Trajectories,
    WindowedTraining,
)
from mixtura.dynamics.mixer import one_expert_each

from .systems import rotations, small_system


def bank(**options) -> ShPLRNN:
    torch.manual_seed(0)
    return ShPLRNN(2, 3, 4, hidden_dim=5, same_init=False, **options).double()


ROUTING = one_expert_each(torch.tensor([0, 1, 0]), 2)


@pytest.mark.parametrize("diagonal", [True, False])
def test_the_driven_recurrence_by_hand(diagonal) -> None:
    experts = bank(diagonal=diagonal, alpha_min=0.3)
    contexts, x = torch.randn(3, 4).double(), torch.randn(3, 2, 6, 3).double()
    found = experts.settle(ROUTING.expert, contexts).drive(x)
    for unit, expert in enumerate(ROUTING.expert.tolist()):
        flat = experts.hyper[expert] @ contexts[unit]
        a, w1, w2, h1, h2, alpha = flat.split(experts.sizes)
        a = torch.diag(a) if diagonal else a.view(3, 3)
        w1, w2 = w1.view(3, 5), w2.view(5, 3)
        share = alpha.clamp_min(0.3)
        for row in range(2):
            z = torch.zeros(3).double()
            for time in range(6):
                entered = share * z + (1 - share) * x[unit, row, time]
                z = a @ entered + w1 @ torch.relu(w2 @ entered + h2) + h1
                torch.testing.assert_close(found[unit, row, time], z)


def test_driven_without_own_state_is_the_map_of_each_observation() -> None:
    experts = bank()
    contexts, x = torch.randn(3, 4).double(), torch.randn(3, 2, 6, 3).double()
    driven = experts.settle(ROUTING.expert, contexts).drive(x, alpha=0.0)
    mapped = experts.bind(ROUTING, contexts)(x)
    torch.testing.assert_close(driven, mapped)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch.func.jvp
@pytest.mark.parametrize("order", [1, 2, 3])
def test_taylor_terms_of_a_driven_recurrence(order) -> None:
    experts = bank()
    xi, around = torch.randn(2, 3, 4).double().unbind(0)
    x = torch.randn(3, 2, 4, 3).double()

    def derivative(of):
        return lambda s: torch.func.jvp(of, (s,), (torch.ones_like(s),))[1]

    def term(s: torch.Tensor) -> torch.Tensor:
        return experts.settle(ROUTING.expert, around + s * (xi - around)).drive(x)

    zero = torch.zeros(()).double()
    expected = term(zero)
    for power in range(1, order + 1):
        term = derivative(term)
        expected = expected + term(zero) / factorial(power)
    found = experts.settle(ROUTING.expert, xi, around, order).drive(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def recurrent_system(environments: int, **options) -> Reconstruction:
    torch.manual_seed(0)
    experts = ShPLRNN(2, 2, 6, hidden_dim=12, **options)
    return Reconstruction(MixER(experts), environments, context_start="normal")


RATES = [1.0, 1.1, 1.2, -1.0, -1.1, -1.2]


def test_recurrent_experts_learn_simulate_and_adapt_like_vector_fields() -> None:
    data = rotations(RATES)
    system = recurrent_system(6)
    recipe = WindowedTraining(
        outer_steps=20, inner_steps=30, stages=[Stage(0.6, 4), Stage(1.0, 0)], lr=2e-2
    )
    reports = recipe.run(system, data, torch.Generator().manual_seed(0))
    assert reports[-1].loss < 0.1 * reports[0].loss
    states = system(data.x0, data.t).states
    assert float((states - data.x).square().mean().detach()) < 0.15
    adapted = Adaptation(steps=40, lr=2e-2)(system, rotations([1.05]))
    assert float(adapted.support_losses) < 0.3


@pytest.mark.parametrize("objective", [SequenceObjective(), SequenceObjective(0.5, 0.9)])
def test_published_training_of_recurrences_updates_the_gate(objective) -> None:
    data = rotations(RATES)
    system = recurrent_system(6)
    recipe = PAM(objective, outer_steps=12, gate_every=4, lr=2e-2)
    reports = recipe.run(system, data, torch.Generator().manual_seed(0))
    assert reports[-1].loss < 0.6 * reports[0].loss
    assert all(report.gate_updates for report in reports)


def test_the_share_of_the_own_state_decays() -> None:
    objective = SequenceObjective(1.0, 0.5)
    system, data = recurrent_system(3), rotations([1.0, -1.0, 2.0])
    routing = system.mixer.route(system.contexts)
    objective.begin(0)
    free = objective.predict(system.mixer, system.contexts, data, routing).states
    objective.begin(60)
    taught = objective.predict(system.mixer, system.contexts, data, routing).states
    mapped = system.mixer.field(system.contexts, routing=routing)(data.x)
    torch.testing.assert_close(taught[:, :, 1:], mapped[:, :, :-1])
    assert not torch.allclose(free, taught)


def test_maps_and_fields_are_not_confused() -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match="is a map; use Iteration"):
        Reconstruction(MixER(ShPLRNN(2, 2, 4)), 3, solver=RK4())
    system = small_system(3)
    with pytest.raises(InputError, match="is a vector field; use RK4"):
        system.mixer(
            system.contexts, torch.ones(3, 1, 2), torch.rand(3).cumsum(0), solver=Iteration()
        )
    data = rotations([1.0, -1.0, 2.0])
    with pytest.raises(InputError, match="drives recurrences, got GEPS"):
        SequenceObjective()(system.mixer, system.contexts, data)
    with pytest.raises(InputError, match="between 0 and 1"):
        SequenceObjective(alpha=1.5)
    assert isinstance(Objective().solver, type(None))
    assert isinstance(recurrent_system(2).solver, Iteration)
    assert isinstance(Trajectories(data.x, data.t), Trajectories)
