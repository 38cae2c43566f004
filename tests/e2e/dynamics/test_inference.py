"""An exported folder works where nothing that only training needs is installed."""

from pathlib import Path

import numpy as np
import pytest

from mixtura.apps.dynamics.main import main
from mixtura.dynamics import Adaptation, DynamicsModule, MixERReconstructor, Reconstruction
from tests.unit.house.inference import TRAINING, absent_without, run_with_only

LOAD = """
import numpy as np
from mixtura.dynamics import Adaptation, MixERReconstructor

folder, given, to = sys.argv[1:]
model = MixERReconstructor.from_pretrained(folder)
with np.load(given) as data:
    states, t = data["states"], data["t"]
adapted = model.adapt(states, t, Adaptation(steps=5))
np.savez(
    to,
    states=model.simulate(states[0, :, 0], t, env=2),
    contexts=model.contexts_,
    families=model.families_,
    assignment=model.system.assignment.numpy(),
    center=model.system.center.numpy(),
    scale=model.system.scale.numpy(),
    adapted=adapted.contexts.numpy(),
    experts=adapted.experts.numpy(),
    continued=model.simulate(states[:, :, 0], t, env=adapted),
)
again = model.save_pretrained(folder + "-again")
assert (MixERReconstructor.from_pretrained(again).contexts_ == model.contexts_).all()
short = MixERReconstructor(1, outer_steps=1, width=8, progress=False).fit(states, t)
assert np.isfinite(short.simulate(states[0, :, 0], t)).all()
try:
    from mixtura.dynamics import DynamicsModule
except ModuleNotFoundError as error:
    print(error)
"""


def export_after_training(root: Path) -> tuple[Path, Path]:
    """The exported folder of a short training, and its checkpoint."""
    short = ["recipe.init_args.outer_steps=4", "recipe.init_args.inner_steps=3", "standardise=true"]
    data = ["batches_per_epoch=2"]
    assert (
        main(
            [
                "fit",
                "--config=mixer/odebench4",
                *(f"--model.init_args.{option}" for option in short),
                *(f"--data.init_args.{option}" for option in data),
                "--trainer.max_epochs=2",
                "--trainer.enable_progress_bar=false",
                f"--trainer.default_root_dir={root}",
            ]
        )
        == 0
    )
    (path,) = root.rglob("last.ckpt")
    folder = root / "shared"
    assert main(["export", f"--ckpt_path={path}", f"--to={folder}", "--measure=false"]) == 0
    return folder, path


@pytest.mark.parametrize("name", ["mixtura-dynamics", "mixtura-training"])
def test_nothing_of_training_is_required(name: str) -> None:
    assert absent_without(name) >= TRAINING
    assert not absent_without(f"{name}[train]") & (TRAINING - {"sklearn"})


def test_an_exported_folder_needs_no_training_code(tmp_path: Path) -> None:
    folder, path = export_after_training(tmp_path)
    t = np.linspace(0, 1, 6)
    states = np.random.default_rng(0).normal(size=(2, 3, 6, 2)).astype(np.float32)
    np.savez(tmp_path / "given.npz", states=states, t=t)
    said = run_with_only(
        "mixtura-dynamics", LOAD, folder, tmp_path / "given.npz", tmp_path / "found.npz"
    )
    assert "DynamicsModule needs pytorch_lightning" in said
    assert "pip install 'mixtura-dynamics[train]'" in said

    kept = DynamicsModule.load_from_checkpoint(path).network
    assert isinstance(kept, Reconstruction)
    trained = MixERReconstructor(4)
    trained.system_ = kept.eval()
    adapted = trained.adapt(states, t, Adaptation(steps=5))
    expected = {
        "states": trained.simulate(states[0, :, 0], t, env=2),
        "contexts": trained.contexts_,
        "families": trained.families_,
        "assignment": kept.assignment.numpy(),
        "center": kept.center.numpy(),
        "scale": kept.scale.numpy(),
        "adapted": adapted.contexts.numpy(),
        "experts": adapted.experts.numpy(),
        "continued": trained.simulate(states[:, :, 0], t, env=adapted),
    }
    with np.load(tmp_path / "found.npz") as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert (kept.assignment >= 0).all()
    assert kept.contexts.abs().sum() > 0
    assert not np.allclose(kept.scale, 1)
