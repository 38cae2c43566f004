"""Checkpoints with missing, extra or other tensors: a sentence that names them, nothing lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mixtura.core import InputError
from mixtura.forecasting import DLinear, Forecaster, MoHETS, MoiraiMoE, SegMoE, TimeMoE
from mixtura.forecasting.checkpoints import (
    load_into,
    load_moirai_moe,
    load_time_moe,
    mohets_rules,
    moirai_moe_arguments,
    save_moirai_moe,
    save_state,
    save_time_moe,
    seg_moe_rules,
    time_moe_arguments,
    time_moe_rules,
)
from mixtura.training.checkpoint import digest

SMALL: dict[str, int] = {"dim": 8, "num_heads": 2, "hidden_dim": 8, "num_layers": 1}
CONFIG: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_experts": 2,
    "horizon_lengths": [1, 8],
}
MOIRAI: dict[str, Any] = {"d_model": 64, "d_ff": 8, "num_layers": 1, "patch_sizes": [8]}

MODELS: list[tuple[nn.Module, Callable[[Any], Any]]] = [
    (SegMoE(24, 4, 1.5, num_kv_heads=1, segment_sizes=2, **SMALL), seg_moe_rules),
    (MoHETS(24, 2, 4, 1.5, num_kv_heads=1, num_experts=2, **SMALL), mohets_rules),
    (TimeMoE(num_experts=2, **SMALL), time_moe_rules),
]


@pytest.mark.parametrize("change", ["missing", "extra", "another size", "one expert of another"])
@pytest.mark.parametrize(("model", "rules"), MODELS, ids=lambda x: type(x).__name__)
def test_released_tensors_that_do_not_fit(
    model: nn.Module, rules: Callable[[Any], Any], change: str
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = save_state(rules(model), model.state_dict())
    name = next(name for name in state if "experts.1." in name)
    if change == "missing":
        del state[name]
    elif change == "extra":
        name = "somebody.elses.weight"
        state[name] = torch.zeros(3)
    elif change == "another size":
        name = next(each for each in state if "q_proj.weight" in each)
        state[name] = torch.zeros(3, 3)
        name = "q_proj.weight has shape"
    else:
        state[name] = torch.zeros(3, 3)
    with pytest.raises(InputError) as caught:
        load_into(model, rules(model), state)
    assert name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.fixture(params=["Time-MoE", "Moirai-MoE"])
def released(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], Any]]:
    """A folder in the released format, and its reader."""
    if request.param == "Time-MoE":
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
        save_time_moe(TimeMoE(**time_moe_arguments(CONFIG)), tmp_path)
        return tmp_path, load_time_moe
    (tmp_path / "config.json").write_text(json.dumps(MOIRAI))
    save_moirai_moe(MoiraiMoE(**moirai_moe_arguments(MOIRAI)), tmp_path)
    return tmp_path, load_moirai_moe


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: cut(folder / "model.safetensors"), "is damaged"),
        (lambda folder: cut(folder / "config.json"), "is damaged"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no settings"),
        (lambda folder: (folder / "config.json").write_text("{}"), "lacks the setting"),
        (lambda folder: (folder / "config.json").unlink(), "expected config.json and model"),
        (lambda folder: (folder / "model.safetensors").unlink(), "expected config.json and model"),
    ],
)
def test_released_folders_that_are_damaged(
    released: tuple[Path, Callable[[Path], Any]], damage: Callable[[Path], Any], words: str
) -> None:
    folder, load = released
    load(folder)
    damage(folder)
    with pytest.raises(InputError, match=words):
        load(folder)


def shared_with(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    """A shared forecaster whose weights were changed by somebody who knows the checksum."""
    Forecaster(DLinear(8, 2)).save_pretrained(folder)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    change(state)
    save_file(state, weights)
    config = json.loads((folder / "config.json").read_text())
    config["weights"]["sha256"] = digest(weights)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("network.trend.weight"), r"1 missing: network\.trend\.weight"),
        (lambda state: state.update(more=torch.ones(1)), "1 unknown: more"),
        (lambda state: state.update({"network.trend.bias": torch.ones(3)}), r"is \(3,\), expected"),
    ],
)
def test_shared_tensors_that_do_not_fit(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        Forecaster.from_pretrained(shared_with(tmp_path / "model", change))


def test_an_altered_folder_is_seen(tmp_path: Path) -> None:
    Forecaster(DLinear(8, 2)).save_pretrained(tmp_path / "model")
    cut(tmp_path / "model" / "model.safetensors")
    with pytest.raises(InputError, match="altered or cut off"):
        Forecaster.from_pretrained(tmp_path / "model")
