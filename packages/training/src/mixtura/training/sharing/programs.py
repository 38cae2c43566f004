"""Models as programs for other runtimes: `torch.export` and ONNX, compared with eager."""

import copy
import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mixtura.core import moe_layers
from mixtura.core.dispatch.base import dispatch_by_name
from mixtura.training.checkpoint import write_whole
from mixtura.training.sharing.folder import SharingError

__all__ = ["export_program"]

TOLERANCE = 1e-4
DISPATCHES = ("dense_all", "naive")


def export_program(
    model: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    kind: Literal["pt2", "onnx"] = "pt2",
) -> float:
    """Write `model` as a program and return how far it is from eager on `inputs`.

    The experts are carried by a dispatch without data-dependent shapes, the first that exports.

    Args:
        model: The model; it is copied and left as it is.
        inputs: Example inputs of its `forward`.
        path: The file.
        kind: `pt2` of `torch.export`, or `onnx`.

    Raises:
        SharingError: when the model cannot be exported or the program computes something else.
    """
    if kind == "onnx" and find_spec("onnxscript") is None:
        raise SharingError("ONNX needs the packages onnx and onnxscript; install them")
    reasons = []
    for name in DISPATCHES:
        candidate = copy.deepcopy(model).eval()
        for layer in moe_layers(candidate).values():
            layer.dispatch = dispatch_by_name(name)
        try:
            with torch.no_grad():
                program = torch.export.export(candidate, tuple(inputs))
        except Exception as error:  # the exporter fails in as many ways as there are models
            reasons.append(f"{name}: {str(error).strip().splitlines()[0][:160]}")
            continue
        with torch.no_grad():
            expected = model.eval()(*inputs)
            distance = _distance(program.module()(*inputs), expected)
        if distance > TOLERANCE:
            raise SharingError(
                f"the exported program differs from the model by {distance:.2g} (allowed: "
                f"{TOLERANCE}); it was not written"
            )
        write = functools.partial(_write, program, kind, inputs)
        write_whole(path, write, beside=False)
        return distance
    raise SharingError(
        f"{type(model).__name__} cannot be exported to {kind} ({'; '.join(reasons)}); "
        "share it as a folder instead"
    )


def _write(program: Any, kind: str, inputs: Sequence[Tensor], path: Path) -> None:
    if kind == "pt2":
        with path.open("wb") as file:
            torch.export.save(program, file)
    else:
        torch.onnx.export(program, tuple(inputs), str(path), dynamo=True)


def _distance(found: Any, expected: Any) -> float:
    found, expected = _leaves(found), _leaves(expected)
    return max(
        (float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)), default=0.0
    )


def _leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [leaf for item in value for leaf in _leaves(item)]
        if isinstance(value, list | tuple)
        else []
    )
