"""Every picture of a trained system that its data allow."""

from pathlib import Path

import torch

from mixtura.core import InputError
from mixtura.datasets.dynamics.environments import Environments
from mixtura.dynamics.pictures.contexts import draw_contexts, draw_gate
from mixtura.dynamics.pictures.fields import draw_fields
from mixtura.dynamics.pictures.portraits import draw_portraits
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["draw_system"]


@torch.no_grad()
def draw_system(folder: Path, system: Reconstruction, split: Environments) -> dict[str, Path]:
    """Draw portraits, contexts, the gate and, in the plane, the vector fields.

    Args:
        folder: Where the files go.
        system: A trained system.
        split: Trajectories of its environments.

    Returns:
        The files by title.

    Raises:
        InputError: when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    truth = Trajectories.of(split)
    family = None if split.family is None else torch.as_tensor(split.family)
    expert, contexts = system.family(), system.contexts.detach()
    states = system(truth.x0, truth.t).states
    scores = system.mixer.route(contexts).scores
    assert scores is not None
    pictures = {
        "Portraits": draw_portraits(folder / "portraits.png", truth.shown, states, expert),
        "Contexts": draw_contexts(folder / "contexts.png", contexts, expert, family),
        "Gate": draw_gate(folder / "gate.png", scores, family),
    }
    if truth.x.shape[-1] == 2:
        labels = expert if family is None else family
        one_each = [int(torch.nonzero(labels == f)[0]) for f in labels.unique()]
        fields = draw_fields(folder / "fields.png", system, truth.shown, one_each)
        pictures["Vector fields"] = fields
    return pictures
