"""What users of Python call: fit, simulate, adapt, share; and their mistakes."""

import numpy as np
import pytest
import torch

from mixtura.core import InputError, from_config, to_config
from mixtura.datasets.dynamics import DynamicsData, Environments
from mixtura.dynamics import Adaptation, MixERReconstructor, Reconstruction, Trajectories
from mixtura.dynamics.evaluation import evaluate

from .systems import rotations, small_system

RATES = [1.0, 1.1, -1.0, -1.1]


@pytest.fixture(scope="module")
def fitted() -> MixERReconstructor:
    data = rotations(RATES)
    model = MixERReconstructor(2, width=16, outer_steps=12, progress=False)
    return model.fit(data.x.numpy(), data.t.numpy())


def test_fit_and_simulate(fitted: MixERReconstructor) -> None:
    data = rotations(RATES)
    states = fitted.simulate(data.x0[2].numpy(), data.t[2].numpy(), env=2)
    assert states.shape == (3, 12, 2)
    assert float(np.square(states - data.x[2].numpy()).mean()) < 0.3
    both = fitted.simulate(data.x0[:2].numpy(), data.t[0].numpy(), env=[0, 1])
    assert both.shape == (2, 3, 12, 2)
    assert fitted.families_.shape == (4,)
    assert fitted.contexts_.shape == (4, 8)
    assert fitted.losses_[-1] < fitted.losses_[0]


def test_an_environment_may_be_a_number_of_numpy(fitted: MixERReconstructor) -> None:
    x0, t = np.ones((2, 2)), np.linspace(0, 1, 5)
    expected = fitted.simulate(x0, t, env=1)
    for number in (np.int64(1), np.array(1)):
        np.testing.assert_array_equal(fitted.simulate(x0, t, env=number), expected)
    both = fitted.simulate(np.stack([x0, x0]), t, env=np.array([0, 1]))
    np.testing.assert_array_equal(both[1], expected)


@pytest.mark.parametrize("expert", ["shplrnn", "coda", "ncf", "cavia"])
def test_every_kind_of_expert_trains_and_adapts(expert) -> None:
    data = rotations(RATES)
    model = MixERReconstructor(2, expert, width=8, outer_steps=1, progress=False)
    model.fit(data.x.numpy(), data.t.numpy())
    assert np.isfinite(model.losses_).all()
    adapted = model.adapt(data.x[:1].numpy(), data.t[:1].numpy(), Adaptation(steps=2))
    assert model.simulate(data.x0[:1].numpy(), data.t[0].numpy(), adapted).shape == (1, 3, 12, 2)


def test_adapt(fitted: MixERReconstructor) -> None:
    new = rotations([1.05])
    adapted = fitted.adapt(new.x.numpy(), new.t.numpy())
    states = fitted.simulate(new.x0.numpy(), new.t[0].numpy(), env=adapted)
    assert states.shape == (1, 3, 12, 2)


def test_a_shared_system_simulates_the_same(fitted: MixERReconstructor, tmp_path) -> None:
    fitted.save_pretrained(tmp_path / "model")
    loaded = MixERReconstructor.from_pretrained(tmp_path / "model")
    x0, t = np.ones((2, 2)), np.linspace(0, 1, 5)
    np.testing.assert_array_equal(loaded.simulate(x0, t, 1), fitted.simulate(x0, t, 1))
    np.testing.assert_array_equal(loaded.contexts_, fitted.contexts_)
    np.testing.assert_array_equal(loaded.families_, fitted.families_)
    assert {p.name for p in (tmp_path / "model").iterdir()} >= {"config.json", "model.safetensors"}


def test_a_configuration_builds_the_same_system() -> None:
    system = small_system(3)
    again = from_config(to_config(system))
    assert isinstance(again, Reconstruction)
    assert to_config(again) == to_config(system)
    again.load_state_dict(system.state_dict())
    x0, t = torch.ones(3, 1, 2), torch.linspace(0, 1, 4)
    assert torch.equal(again(x0, t).states, system(x0, t).states)


def test_evaluation_reports_all_parts(fitted: MixERReconstructor) -> None:
    data, new = rotations(RATES), rotations([1.05, -1.05])
    known = Environments(data.x.numpy(), data.t.numpy(), np.array([0, 0, 1, 1]))
    unknown = Environments(new.x.numpy(), new.t.numpy())
    content = DynamicsData(
        "rotations", known, known, unknown.trajectories(slice(0, 1)), unknown, slice(1, 3)
    )
    report = evaluate(fitted.system, content)
    assert {"mse", "mse_sd", "rel_l2", "mape", "rel_sq_pointwise"} <= set(report["in_domain"])
    assert len(report["in_domain_by_environment"]) == 4
    assert len(report["out_of_domain_experts"]) == 2
    assert 0.5 <= report["families"]["purity"] <= 1
    assert "in_domain_leak_free_mse" in report


def test_mistakes_are_sentences(fitted: MixERReconstructor) -> None:
    data = rotations([1.0, -1.0])
    with pytest.raises(InputError, match="more than the 2 environments"):
        MixERReconstructor(3, progress=False).fit(data.x.numpy(), data.t.numpy())
    with pytest.raises(InputError, match="nothing is trained"):
        MixERReconstructor().simulate(np.ones((1, 2)), np.linspace(0, 1, 3))
    with pytest.raises(InputError, match=r"is a number from 0, got array"):
        fitted.simulate(np.ones((1, 2)), np.linspace(0, 1, 3), env=np.array([0.5]))
    with pytest.raises(InputError, match="numbered from 0"):
        fitted.simulate(np.ones((1, 2)), np.linspace(0, 1, 3), env=9)
    ragged = [np.zeros((2, 12, 2)), np.zeros((2, 11, 2))]
    with pytest.raises(InputError, match="environment 1 has 11 samples, but times of shape"):
        MixERReconstructor(1, progress=False).fit(ragged, [np.linspace(0, 1, 12)] * 2)
    other = [np.zeros((2, 12, 2)), np.zeros((2, 12, 3))]
    with pytest.raises(InputError, match="state dimensions"):
        MixERReconstructor(1, progress=False).fit(other, np.linspace(0, 1, 12))


def test_a_single_environment_trains() -> None:
    data = rotations([1.0])
    model = MixERReconstructor(1, width=8, outer_steps=2, progress=False)
    model.fit(data.x.numpy(), data.t.numpy())
    assert np.isfinite(model.losses_).all()


def test_irregular_times_train_on_one_window_at_a_time() -> None:
    data = rotations(RATES)
    t = np.sort(np.random.default_rng(0).uniform(0, 2, (4, 12)), axis=1)
    model = MixERReconstructor(2, width=8, outer_steps=1, progress=False)
    model.fit(data.x.numpy(), t)
    assert np.isfinite(model.losses_).all()
    irregular = Trajectories(data.x, torch.from_numpy(t).float())
    piece = irregular.windows(5, 4, torch.Generator().manual_seed(1))
    begin = int((irregular.t[0] == piece.t[0, 0]).nonzero())
    torch.testing.assert_close(piece.t, irregular.t[:, begin : begin + 5])
    torch.testing.assert_close(piece.x, irregular.x[:, :, begin : begin + 5])
