"""Pictures of what a trained system has learnt."""

from pathlib import Path

import torch
from rich.console import Console

from mixtura.apps.dynamics.configurations import load_module
from mixtura.core.errors import InputError
from mixtura.dynamics.data import EnvironmentsDataModule
from mixtura.dynamics.pictures import draw_contexts, draw_fields, draw_gate, draw_portraits
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.trajectories import Trajectories
from mixtura.training.sharing.export import data_of

__all__ = ["draw_all", "inspect"]


def inspect(ckpt_path: str, to: str | None = None) -> Path:
    """Draw phase portraits, the context space, the gate and the vector fields.

    Args:
        ckpt_path: Checkpoint of a training run.
        to: Folder of the pictures; `inspection` beside the checkpoint by default.
    """
    path = Path(ckpt_path)
    module = load_module(ckpt_path)
    data = data_of(path)
    if not isinstance(data, EnvironmentsDataModule):
        raise InputError(f"{path} does not say which data it was trained on; train it with `fit`")
    folder = Path(to) if to else path.parent / "inspection"
    console = Console()
    for picture in draw_all(folder, module.network, data):
        console.print(f"  {picture}", highlight=False)
    return folder


@torch.no_grad()
def draw_all(folder: Path, system: Reconstruction, data: EnvironmentsDataModule) -> list[Path]:
    """Every picture of a trained system that the data allow."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    split = data.data.test or data.data.train
    truth = Trajectories.of(split)
    family = None if split.family is None else torch.as_tensor(split.family)
    expert, contexts = system.family(), system.contexts.detach()
    states = system(truth.x0, truth.t).states
    scores = system.mixer.route(contexts).scores
    assert scores is not None
    pictures = [
        draw_portraits(folder / "portraits.png", truth.x, states, expert),
        draw_contexts(folder / "contexts.png", contexts, expert, family),
        draw_gate(folder / "gate.png", scores, family),
    ]
    if truth.x.shape[-1] == 2:
        labels = expert if family is None else family
        one_each = [int(torch.nonzero(labels == f)[0]) for f in labels.unique()]
        pictures.append(draw_fields(folder / "fields.png", system, truth.x, one_each))
    return pictures
