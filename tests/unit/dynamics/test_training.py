"""Recipes: they learn, they resume exactly, they survive explosions; speed against a loop."""

import time

import pytest
import torch

from mixtura.core import InputError
from mixtura.dynamics import (
    CAVIA,
    GEPS,
    PAM,
    RK4,
    AdaBelief,
    Adaptation,
    CAVIATraining,
    ForcedObjective,
    GEPSTraining,
    LowRankTuning,
    MixER,
    Objective,
    OfficialGEPS,
    Reconstruction,
    Stage,
    Trajectories,
    WindowedTraining,
)
from mixtura.dynamics.contexts import context_pool
from mixtura.dynamics.metrics import mse
from mixtura.dynamics.training import StepReport
from mixtura.dynamics.training.contributors import choose_contributors

from .systems import rotations, small_system

RATES = [1.0, 1.1, 1.2, -1.0, -1.1, -1.2]


def short(**changes) -> WindowedTraining:
    options = {
        "outer_steps": 16,
        "inner_steps": 40,
        "stages": [Stage(0.6, 5), Stage(1.0, 0)],
        "split_at": 0.5,
        "lr": 1e-2,
    }
    return WindowedTraining(**options | changes)


def test_adabelief_first_step_by_hand() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimiser = AdaBelief([parameter], lr=0.1)
    parameter.grad = torch.tensor([2.0])
    optimiser.step()
    # m = 0.2, s = 0.001 * 1.8^2: m_hat = 2, s_hat = 3.24
    assert parameter.item() == pytest.approx(1 - 0.1 * 2 / 1.8, abs=1e-6)


@pytest.fixture(scope="module")
def run() -> tuple[Reconstruction, list[StepReport]]:
    """A short run with a shared start, and its reports."""
    system = small_system(6, experts=2)
    reports = short().run(system, rotations(RATES), torch.Generator().manual_seed(0))
    return system, reports


def test_the_shared_start_finds_the_families_and_learns(run) -> None:
    system, reports = run
    family = system.family()
    assert len(set(family[:3].tolist())) == len(set(family[3:].tolist())) == 1
    assert family[0] != family[3]
    assert torch.equal(system.mixer.route(system.contexts).dense_weight.argmax(1), family)
    assert reports[-1].loss < 0.1 * reports[0].loss


def test_proximal_alternation_learns_and_updates_the_gate() -> None:
    system = small_system(6, experts=2)
    recipe = PAM(outer_steps=8, gate_every=3, lr=1e-2)
    reports = recipe.run(system, rotations(RATES), torch.Generator().manual_seed(0))
    assert reports[-1].loss < reports[0].loss
    assert sum(len(report.gate_updates) for report in reports) == 8 * 8


def test_the_gate_stays_out_of_the_optimiser_unless_compatibility_is_asked_for() -> None:
    system = small_system(3)
    gate = system.mixer.score.weight
    assert all(p is not gate for p in PAM().weights(system.mixer))
    assert any(p is gate for p in PAM(reference_compat=True).weights(system.mixer))


@pytest.mark.parametrize("recipe", [short(outer_steps=6, inner_steps=5), PAM(outer_steps=6)])
def test_a_run_continues_exactly(recipe) -> None:
    data = rotations(RATES)

    def begin():
        system = small_system(6, experts=2)
        return system, recipe.optimisers(system), torch.Generator().manual_seed(3)

    system, optimisers, generator = begin()
    whole = [recipe.step(n, system, data, optimisers, generator).inner_losses for n in range(6)]
    system, optimisers, generator = begin()
    for n in range(3):
        recipe.step(n, system, data, optimisers, generator)
    state = (
        {k: v.clone() for k, v in system.state_dict().items()},
        [o.state_dict() for o in optimisers],
        generator.get_state(),
    )
    system, optimisers, generator = begin()
    system.load_state_dict(state[0])
    for optimiser, saved in zip(optimisers, state[1], strict=True):
        optimiser.load_state_dict(saved)
    generator.set_state(state[2])
    rest = [recipe.step(n, system, data, optimisers, generator).inner_losses for n in range(3, 6)]
    assert rest == whole[3:]


def test_an_environment_whose_gradient_is_not_finite_does_not_stop_the_others() -> None:
    data = rotations(RATES)
    start = data.x0.clone()
    start[2] = torch.nan
    data = Trajectories(data.x, data.t, start)
    system = small_system(6, experts=1)
    recipe = PAM(outer_steps=2, context_steps=2, model_steps=3, lr=1e-2)
    before = {name: p.detach().clone() for name, p in system.mixer.named_parameters()}
    reports = recipe.run(system, data, torch.Generator().manual_seed(0))
    said = " ".join(sentence for report in reports for sentence in report.failures)
    assert "environment 2, trajectory 0 grew beyond the bound at t = 0" in said
    assert "without the 1 environments that exploded" in said
    assert bool(torch.tensor(reports[-1].inner_losses).isfinite().all())
    moved = dict(system.mixer.named_parameters())
    assert not torch.equal(
        moved["layer.experts.root.weights.0"], before["layer.experts.root.weights.0"]
    )


def test_an_exploding_trajectory_is_reported_and_training_goes_on() -> None:
    data = rotations(RATES)
    system = small_system(6)
    with torch.no_grad():
        for weight in system.mixer.experts.root.weights:
            weight.mul_(60)
    recipe = WindowedTraining(
        Objective(RK4(8)), outer_steps=1, inner_steps=2, stages=[Stage(1.0, 0)]
    )
    (report,) = recipe.run(system, data, torch.Generator().manual_seed(0))
    assert any("environment" in sentence for sentence in report.failures)
    assert all(bool(p.isfinite().all()) for p in system.parameters())


@pytest.mark.parametrize("second_order", [True, False])
def test_cavia_adapts_from_zero(second_order: bool) -> None:
    torch.manual_seed(0)
    system = Reconstruction(MixER(CAVIA(1, 2, 3, width=16)), 6)
    objective = Objective(RK4(discrete_adjoint=not second_order))
    recipe = CAVIATraining(
        objective, outer_steps=60, inner_lr=0.5, lr=5e-3, second_order=second_order
    )
    reports = recipe.run(system, rotations(RATES), torch.Generator())
    assert reports[-1].loss < 0.6 * reports[0].loss


def test_second_order_needs_a_solver_that_can_be_differentiated_twice() -> None:
    with pytest.raises(InputError, match="discrete_adjoint=False"):
        CAVIATraining(Objective(RK4()), second_order=True)


@pytest.mark.parametrize("strategy", ["gate", "best_expert", "nearest", "mean"])
def test_adaptation_fits_a_new_environment_and_changes_nothing_else(strategy, run) -> None:
    system, _ = run
    before = {k: v.clone() for k, v in system.state_dict().items()}
    new = rotations([1.05, -1.15])
    adapted = Adaptation(strategy, steps=60, lr=2e-2)(system, new)
    for name, value in system.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.requires_grad for p in system.parameters())
    states = system(new.x0, new.t, contexts=adapted.contexts, experts=adapted.experts).states
    if strategy in ("best_expert", "nearest"):
        assert float(mse(states.detach(), new.x).max()) < 0.05


def test_adaptation_tries_no_expert_that_no_environment_has() -> None:
    system, new = small_system(4), rotations([1.05, -1.05])
    system.assignment.fill_(1)
    contexts, experts = Adaptation(steps=0).start(system, new)
    assert experts is not None
    assert experts.tolist() == [1, 1]
    torch.testing.assert_close(contexts, system.contexts.detach().mean(0).expand(2, -1))
    for wrong in ({"steps": -1}, {"lr": 0.0}):
        with pytest.raises(InputError, match="steps must not be negative and lr"):
            Adaptation(**wrong)


def test_adaptation_refuses_other_dimensions() -> None:
    with pytest.raises(InputError, match="state dimensions"):
        Adaptation()(small_system(2), Trajectories(torch.zeros(1, 1, 4, 3), torch.rand(1, 4)))


def test_pools_and_contributors() -> None:
    contexts = torch.tensor([[0.0], [1.0], [1.5], [9.0]])
    assert context_pool(contexts, 1)[:, 0].tolist() == [0, 1, 2, 3]
    assert context_pool(contexts, 1, "NF*")[:, 0].tolist() == [1, 2, 1, 2]
    assert context_pool(contexts, 2, "SF").tolist() == [[0, 1]] * 4
    random = torch.Generator().manual_seed(0)
    assert sorted(context_pool(contexts, 4, "RA", random)[0].tolist()) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="pool of 4"):
        context_pool(contexts, 4, "NF*")
    assert choose_contributors(contexts, 2, "FO").tolist() == [0, 1]
    losses = torch.tensor([0.0, 0.0, 0.0, 5.0])
    assert choose_contributors(contexts, 2, "NF-B", last_losses=losses).tolist() == [3, 2]
    with pytest.raises(InputError, match="5 environments cannot contribute"):
        choose_contributors(contexts, 5)


def test_one_batched_solve_beats_a_loop_over_environments_three_times() -> None:
    torch.manual_seed(0)
    mixer = MixER(GEPS(4, 2, 16, width=64))
    contexts, x0 = 0.1 * torch.randn(20, 16), torch.randn(20, 4, 2)
    t = torch.linspace(0, 6, 20).expand(20, -1)

    def batched() -> None:
        mixer(contexts, x0, t).states.square().mean().backward()

    def looped() -> None:
        for e in range(20):
            one = slice(e, e + 1)
            mixer(contexts[one], x0[one], t[one]).states.square().mean().backward()

    def fastest(function) -> float:
        function()
        times = []
        for _ in range(3):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times)

    assert fastest(looped) > 3 * fastest(batched)


def test_geps_own_training_learns_and_its_forcing_and_step_size_shrink() -> None:
    torch.manual_seed(0)
    system = Reconstruction(MixER(OfficialGEPS(2, 2, 4, width=8)), 6, context_start="normal")
    recipe = GEPSTraining(outer_steps=12, inner_steps=10, lr=1e-2, patience=3, threshold=0.5)
    optimisers = recipe.optimisers(system)
    random, data = torch.Generator().manual_seed(0), rotations(RATES)
    reports = [recipe.step(n, system, data, optimisers, random) for n in range(12)]
    assert reports[-1].loss < 0.8 * reports[0].loss
    assert optimisers[0].param_groups[0]["lr"] < 1e-2
    with pytest.raises(InputError, match="got CAVIA experts"):
        recipe.optimisers(Reconstruction(MixER(CAVIA(1, 2, 2)), 3))


def test_teacher_forcing_goes_on_from_observed_states() -> None:
    data, system = rotations(RATES), small_system(6)
    routing = system.mixer.route(system.contexts)
    always = ForcedObjective(forcing=1.0)
    found = always.predict(system.mixer, system.contexts, data, routing).states
    for i in range(1, data.x.shape[2]):
        piece = Trajectories(data.x[:, :, i - 1 : i + 1], data.t[:, i - 1 : i + 1])
        alone = Objective().predict(system.mixer, system.contexts, piece, routing).states
        torch.testing.assert_close(found[:, :, i], alone[:, :, 1])
    never = ForcedObjective(forcing=0.0)
    plain = Objective().predict(system.mixer, system.contexts, data, routing).states
    free = never.predict(system.mixer, system.contexts, data, routing).states
    torch.testing.assert_close(free, plain)


def test_fine_tuning_helps_and_leaves_the_system_alone() -> None:
    system = small_system(6, experts=2)
    short(outer_steps=6).run(system, rotations(RATES), torch.Generator().manual_seed(0))
    before = {k: v.clone() for k, v in system.state_dict().items()}
    new = rotations([2.0, -0.4])
    adapted = Adaptation(steps=10, lr=2e-2)(system, new)
    tuned, after = LowRankTuning(steps=30, lr=1e-2)(system, new, adapted)
    assert float(after.support_losses.mean()) < 0.9 * float(adapted.support_losses.mean())
    states = tuned(new.x0, new.t, contexts=after.contexts, experts=after.experts).states
    torch.testing.assert_close(mse(states.detach(), new.x), after.support_losses)
    root = "mixer.layer.experts.root.weights.0"
    assert torch.equal(tuned.state_dict()[root], before[root])
    for name, value in system.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(InputError, match="no low-rank factors"):
        LowRankTuning()(Reconstruction(MixER(CAVIA(1, 2, 2)), 3), new, after)


def test_parts_of_trajectories_are_resampled() -> None:
    data = rotations([1.0, -1.0], times=20)
    part = data.sub_intervals(0.6, torch.Generator().manual_seed(0))
    assert part.x.shape == data.x.shape
    span = part.t[:, -1] - part.t[:, 0]
    assert bool((span >= 0.55 * 2).all())
    assert bool((part.t >= 0).all())
    exact = torch.stack([data.x0[0, 0].norm() * torch.ones(20)])
    torch.testing.assert_close(part.x[0, :1].norm(dim=-1), exact, rtol=5e-3, atol=0)
    with pytest.raises(InputError, match="cannot be drawn"):
        data.sub_intervals(0.01)
