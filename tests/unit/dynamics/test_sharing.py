"""What stands in a model card is true: its lines run, its papers are those of the parts."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mixtura.dynamics import (
    DynamicsModule,
    EnvironmentsDataModule,
    MixER,
    MixERReconstructor,
    Reconstruction,
    ShPLRNN,
)
from mixtura.dynamics.testing import NETWORKS
from mixtura.training.sharing.card import references

from .systems import rotations, small_system


def written(folder: Path) -> EnvironmentsDataModule:
    """Two rotations as files."""
    folder.mkdir()
    data = rotations([1.0, -1.0])
    for number, states in enumerate(data.x[:, 0].numpy()):
        table = np.column_stack((data.t[number].numpy(), states))
        path = folder / f"{number}.csv"
        np.savetxt(path, table, delimiter=",", header="t,x,y", comments="")
    return EnvironmentsDataModule(str(folder))


@pytest.mark.parametrize("with_data", [True, False])
def test_the_lines_of_the_card_run(with_data: bool, tmp_path: Path) -> None:
    system = small_system(2)
    system.save_pretrained(tmp_path / "shared")
    card = DynamicsModule(system).card(written(tmp_path / "mine") if with_data else None)
    text = card.text(system, "shared")
    lines = text.split("```python\n")[1].split("```")[0]
    names: dict = {}
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec(lines, names)
    finally:
        os.chdir(here)
    assert names["states"].shape == (1, 3, 2)
    assert "2502.05335" in text.split("## Cite")[1]


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_every_network_names_its_papers(case) -> None:
    papers = references(case.build())
    assert papers
    assert all("arXiv" in paper for paper in papers)


def test_a_shared_recurrence_is_a_reconstructor_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mixer = MixER(ShPLRNN(2, 2, 4))
    Reconstruction(mixer, 3, context_start="normal").save_pretrained(tmp_path / "maps")
    model = MixERReconstructor.from_pretrained(tmp_path / "maps")
    assert model.expert == "shplrnn"
    assert model.simulate([[0.1, 0.2]], np.arange(4.0), env=2).shape == (1, 4, 2)
