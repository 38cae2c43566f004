"""The verb `inspect`."""

import sys
from pathlib import Path

import torch

from mixtura.core.errors import InputError
from mixtura.training.inspection.observation import Observation, observe
from mixtura.training.inspection.page import write_page
from mixtura.training.inspection.pictures import draw
from mixtura.training.module import MoEModule
from mixtura.training.sharing.export import data_of

__all__ = ["inspect"]


def inspect(
    ckpt_path: str,
    compare: str | None = None,
    to: str | None = None,
    batches: int = 20,
    examples: int = 4,
) -> Path:
    """Write a page that shows what the experts of a trained model do on its test data.

    The page holds everything; each picture is also written as a PNG beside it.

    Args:
        ckpt_path: Checkpoint of a training run.
        compare: Another checkpoint of the same model, to be compared on the same data.
        to: Folder of the page; `inspection` beside the checkpoint by default.
        batches: Test batches to look at.
        examples: Samples whose routing is drawn in full.
    """
    path = Path(ckpt_path)
    folder = Path(to) if to else path.parent / "inspection"
    data = data_of(path)
    if data is None:
        raise InputError(
            f"{path} does not say which data it was trained on; train with a data module that is "
            "@configurable"
        )
    module, seen = _observed(path, data, batches, examples)
    other = _observed(Path(compare), data, batches, examples)[1] if compare else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            further = module.pictures(data, folder)
        page = write_page(folder, seen, draw(seen, other), other, further)
    except OSError as error:
        raise InputError(
            f"cannot write the page to {folder}: {error.strerror}; choose another folder with --to"
        ) from error
    sys.stdout.write(f"{page}\n")
    return page


def _observed(
    path: Path, data: object, batches: int, examples: int
) -> tuple[MoEModule, Observation]:
    module = MoEModule.load_from_checkpoint(path)
    name = f"{type(module.network).__name__} ({'/'.join(path.parts[-4:])})"
    return module, observe(module, module.inspected(data), name, batches, examples)
