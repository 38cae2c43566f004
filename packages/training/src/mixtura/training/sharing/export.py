"""The verb `export`: from a checkpoint to something to share."""

import inspect
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mixtura.core import LayerStatistics, from_config, moe_layers, record_routing
from mixtura.core.errors import InputError
from mixtura.training.checkpoint import read_checkpoint
from mixtura.training.loading import test_batches
from mixtura.training.module import MoEModule
from mixtura.training.sharing.mixin import Shared, save_pretrained
from mixtura.training.sharing.programs import export_program

__all__ = ["data_of", "expert_statistics", "export"]


def export(
    ckpt_path: str,
    to: str,
    repo: str | None = None,
    kind: Literal["folder", "pt2", "onnx"] = "folder",
    measure: bool = True,
    batches: int = 50,
) -> Path:
    """Write a trained model as a folder to share: safetensors, config.json and a model card.

    The card holds what the model scores on its test split, measured now, and what its experts do.

    Args:
        ckpt_path: Checkpoint of a training run.
        to: Folder to write (the file's name, for the kinds pt2 and onnx).
        repo: Also push it to this repository of the hub, as user/name.
        kind: A folder for `from_pretrained`, a `torch.export` program, or ONNX.
        measure: Run the test split for the card's table.
        batches: Test batches over which the experts' work is counted.
    """
    module = MoEModule.load_from_checkpoint(ckpt_path)
    data = data_of(Path(ckpt_path))
    if kind != "folder":
        return _program(module, data, Path(to), kind)
    card = module.card(data)
    if data is not None and measure and module.tested(data):
        card.figures = _measured(module, data)
    if data is not None:
        card.experts = expert_statistics(module, data, batches)
    model = module.shared(data)
    folder = save_pretrained(model, to, card, repo=repo)
    sys.stdout.write(f"{type(model).__name__} is in {folder}\n")
    if repo:
        if not isinstance(model, Shared):
            raise InputError(
                f"{type(model).__name__} is not a Shared model, so it cannot push itself; "
                f"upload the folder {folder} with `hf upload {repo} {folder}`"
            )
        sys.stdout.write(f"pushed to {model.push_to_hub(repo, card)}\n")
    return folder


def data_of(ckpt_path: Path) -> Any:
    """The data module that a checkpoint was trained with, None if it is not stored."""
    tree = read_checkpoint(ckpt_path).get("mixtura", {}).get("data")
    return None if tree is None else from_config(tree)


def _measured(module: MoEModule, data: Any) -> dict[str, float]:
    sums: dict[str, float] = {}
    weight = 0
    module.eval()
    with torch.no_grad():
        for batch in test_batches(data):
            size = module.batch_size(batch)
            weight += size
            for name, value in module.evaluate(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) * size
    if weight == 0:
        raise InputError("the test split is empty; export with --measure=false")
    return {f"test {name}": total / weight for name, total in sums.items()}


def expert_statistics(module: MoEModule, data: Any, batches: int) -> dict[str, LayerStatistics]:
    """What each layer's experts do over the first `batches` batches that `inspect` looks at."""
    found: dict[str, LayerStatistics] = {}
    if not moe_layers(module.network):
        return found
    module.eval()
    for number, batch in enumerate(module.inspected(data)):
        if number == batches:
            break
        with torch.no_grad(), record_routing(module.network) as record:
            module.evaluate(batch)
        for name, one in record.statistics().items():
            found[name] = found[name] + one if name in found else one
    return found


def _program(module: MoEModule, data: Any, path: Path, kind: Literal["pt2", "onnx"]) -> Path:
    if data is None:
        raise InputError(
            "this checkpoint does not say which data it was trained on, so no example is at hand"
        )
    batch = next(iter(test_batches(data)))
    network, inputs = _call(module, batch)
    distance = export_program(network, inputs, path, kind)
    sys.stdout.write(f"{path}: differs from the model by at most {distance:.2g}\n")
    return path


def _call(module: MoEModule, batch: Any) -> tuple[nn.Module, list[Tensor]]:
    """The network and the tensors that it was called with for a batch."""
    calls: list[list[Any]] = []

    def keep(network: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        bound = inspect.signature(network.forward).bind(*args, **named)
        values = list(bound.arguments.values())
        while values and values[-1] is None:
            values.pop()
        calls.append(values)

    hook = module.network.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad():
        module.eval().evaluate(batch)
    hook.remove()
    if not calls or not all(isinstance(each, Tensor) for each in calls[0]):
        raise InputError(
            f"{type(module.network).__name__} is not called with tensors alone and cannot become a "
            "program; share it as a folder"
        )
    return module.network, calls[0]
