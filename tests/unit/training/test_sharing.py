"""Shared folders: round trip, strict checks, no pickle, model card, hub."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from torch import nn

from mixtura.core import configurable, record_routing
from mixtura.core.errors import InputError
from mixtura.training import Card, Shared, SharingError, load_pretrained, save_pretrained
from mixtura.training.sharing import export_program
from tests.e2e.training.toyapp.model import ToyNetwork


@configurable
class SharedToy(Shared, nn.Module):
    """A toy that can be shared.

    References: Noone, A Paper, 2020 (arXiv 2001.00001); Somebody et al., Another,
    2021.

    Args:
        network: The network.
        scale: Factor of its output.
    """

    def __init__(self, network: ToyNetwork, scale: float = 2.0) -> None:
        super().__init__()
        self.network = network
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.network(x)


@configurable
class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    SharedToy(ToyNetwork(num_experts=3), 3.0).save_pretrained(tmp_path / "shared")
    return tmp_path / "shared"


def test_round_trip(folder: Path) -> None:
    torch.manual_seed(0)
    model = SharedToy(ToyNetwork(num_experts=3), 3.0).eval()
    again = SharedToy.from_pretrained(folder)
    assert again.scale == 3.0
    assert not again.training
    x = torch.randn(5, 8)
    assert torch.equal(again(x), model(x))
    assert type(load_pretrained(folder)) is SharedToy
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }


def test_round_trip_in_a_fresh_process(folder: Path, tmp_path: Path, repository: Path) -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    torch.save(SharedToy.from_pretrained(folder)(x).detach(), tmp_path / "expected.pt")
    code = (
        "import torch, sys; from mixtura.training import load_pretrained\n"
        f"model = load_pretrained({str(folder)!r})\n"
        "x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))\n"
        f"assert torch.equal(model(x), torch.load({str(tmp_path / 'expected.pt')!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-1500:]


def test_tied_weights(tmp_path: Path) -> None:
    model = Tied()
    save_pretrained(model, tmp_path / "tied")
    again = load_pretrained(tmp_path / "tied")
    assert again.a.weight is again.b.weight
    assert torch.equal(again.a.weight, model.a.weight)


def altered(folder: Path, change: Any) -> None:
    path = folder / "config.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(surprise=1), "unknown key 'surprise'"),
        (lambda tree: tree["init_args"].update(scal=1), "did you mean scale"),
        (lambda tree: tree.update(class_path="os.system"), "not a @configurable class"),
        (lambda tree: tree.update(class_path="mixtura.core.Routr"), "Router"),
        (lambda tree: tree.pop("class_path"), "no 'class_path'"),
        (lambda tree: tree.update(schema=9), "schema 9"),
        (
            lambda tree: tree["init_args"]["network"]["init_args"].update(num_experts=7),
            "another size",
        ),
        (lambda tree: tree["weights"].update(sha256="0" * 64), "altered or cut off"),
    ],
)
def test_refused_configurations(folder: Path, change: Any, words: str) -> None:
    altered(folder, change)
    with pytest.raises(SharingError if "size" not in words else InputError, match=words):
        SharedToy.from_pretrained(folder)


def test_another_class(folder: Path) -> None:
    with pytest.raises(SharingError, match="holds a SharedToy, not a Tied"):
        load_pretrained(folder, Tied)


def test_missing_things(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(SharingError, match=r"pytorch_model\.bin is not read"):
        load_pretrained(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SharingError, match="found nothing"):
        load_pretrained(tmp_path / "empty")
    with pytest.raises(SharingError, match="no folder"):
        load_pretrained(tmp_path / "lost/with/many/parts")


def test_mutated_folders(folder: Path, tmp_path: Path) -> None:
    """Weights and configuration changed at random: always our sentence."""
    copy = tmp_path / "copy"
    refusals = []
    for number in range(150):
        draw = random.Random(number)
        shutil.copytree(folder, copy)
        path = copy / draw.choice(["model.safetensors", "config.json"])
        data = bytearray(path.read_bytes())
        for _ in range(draw.randrange(1, 9)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.3:
            del data[draw.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            load_pretrained(copy)
        except InputError as error:
            refusals.append(str(error))
        shutil.rmtree(copy)
    assert min(map(len, refusals)) > 20


def test_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SharingError, match="choose another folder"):
        save_pretrained(Tied(), tmp_path / "file" / "model")


def test_card(tmp_path: Path) -> None:
    model = SharedToy(ToyNetwork())
    with torch.no_grad(), record_routing(model.eval()) as record:
        model(torch.randn(6, 8))
    card = Card(
        task="tabular-classification",
        data="Made points",
        licence="Apache-2.0",
        description="A toy.",
        figures={"test accuracy": 0.75},
        experts=record.statistics(),
    )
    folder = save_pretrained(model, tmp_path / "toy", card, repo="me/toy")
    text = (folder / "README.md").read_text()
    for words in (
        "pipeline_tag: tabular-classification",
        "- Data: Made points\n- Licence of the data: Apache-2.0\n",
        "](experts.png)",
        "| test accuracy | 0.75 |",
        "network.moe | 4 |",
        'SharedToy.from_pretrained("me/toy")',
        "- Shazeer et al., Outrageously Large Neural Networks, 2017 (arXiv 1701.06538",
        "- Noone, A Paper, 2020 (arXiv 2001.00001)\n- Somebody et al., Another, 2021",
    ):
        assert words in text, words
    assert imread(folder / "experts.png").std() > 0.01
    assert load_pretrained(folder, SharedToy).scale == model.scale
    assert "Nothing was measured" in Card().text(model)


def test_push_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.hub_mixin as hub

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(hub.HfApi, "create_repo", refuse)
    with pytest.raises(SharingError, match="no route to host"):
        SharedToy(ToyNetwork()).push_to_hub("me/toy")


def test_push_uploads_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.hub_mixin as hub

    uploaded: dict[str, str] = {}

    class Made:
        repo_id = "me/toy"

    def upload(self: Any, *, folder_path: Path, **_: Any) -> str:
        uploaded.update(
            {path.name: path.read_text("latin-1") for path in Path(folder_path).iterdir()}
        )
        return "commit"

    monkeypatch.setattr(hub.HfApi, "create_repo", lambda *_, **__: Made())
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload)
    SharedToy(ToyNetwork()).push_to_hub("me/toy", Card(data="Points"))
    assert set(uploaded) == {"config.json", "model.safetensors", "README.md"}
    assert "Points" in uploaded["README.md"]
    assert 'from_pretrained("me/toy")' in uploaded["README.md"]


@pytest.mark.compile
def test_exported_program(tmp_path: Path) -> None:
    model = ToyNetwork().eval()
    x = torch.randn(4, 8)
    assert export_program(model, [x], tmp_path / "toy.pt2") < 1e-5
    program = torch.export.load(tmp_path / "toy.pt2").module()
    torch.testing.assert_close(program(x), model(x))
