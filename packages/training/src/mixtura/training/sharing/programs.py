"""Models as programs for other runtimes: `torch.export` and ONNX, compared with eager."""

import copy
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mixtura.core import moe_layers
from mixtura.core.dispatch.base import dispatch_by_name
from mixtura.training.sharing.folder import SharingError
from mixtura.training.whole_files import write_whole

__all__ = ["export_program", "run_onnx"]

TOLERANCE = 1e-4
DISPATCHES = ("dense_all", "naive")


def export_program(
    model: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    kind: Literal["pt2", "onnx"] = "pt2",
) -> float:
    """Write `model` as a program and return how far it is from eager on `inputs`.

    The experts are carried by a dispatch without data-dependent shapes, the first that exports. An
    ONNX file is read again and run by onnxruntime where that is installed; else what is compared is
    the program that it was made from.

    Args:
        model: The model; it is copied and left as it is.
        inputs: Example inputs of its `forward`.
        path: The file.
        kind: `pt2` of `torch.export`, or `onnx`.

    Raises:
        SharingError: when the model cannot be exported or the program computes something else.
    """
    if kind == "onnx" and find_spec("onnxscript") is None:
        raise SharingError("ONNX needs further packages; install mixtura-training[onnx]")
    program = _program(model, inputs, kind)
    with torch.no_grad():
        expected = model.eval()(*inputs)
        distances = [_checked(program.module()(*inputs), expected)]

    def write(temporary: Path) -> None:
        if kind == "pt2":
            with temporary.open("wb") as file:
                torch.export.save(program, file)
            return
        _write_onnx(program, inputs, temporary)
        if find_spec("onnxruntime") is not None:
            distances.append(_checked(run_onnx(temporary, inputs), expected))

    write_whole(path, write, beside=False)
    return max(distances)


def _program(model: nn.Module, inputs: Sequence[Tensor], kind: str) -> Any:
    """The first program that a dispatch gives."""
    reasons = []
    for name in DISPATCHES:
        candidate = copy.deepcopy(model).eval()
        for layer in moe_layers(candidate).values():
            layer.dispatch = dispatch_by_name(name)
        try:
            with torch.no_grad():
                return torch.export.export(candidate, tuple(inputs))
        except Exception as error:  # the exporter fails in as many ways as there are models
            reasons.append(f"{name}: {str(error).strip().splitlines()[0][:160]}")
    raise SharingError(
        f"{type(model).__name__} cannot be exported to {kind} ({'; '.join(reasons)}); "
        "share it as a folder instead"
    )


def _checked(found: Any, expected: Any) -> float:
    distance = _distance(found, expected)
    if not distance <= TOLERANCE:
        raise SharingError(
            f"the exported program differs from the model by {distance:.2g}, more than "
            f"{TOLERANCE}, and was not written; share the model as a folder instead"
        )
    return distance


def _write_onnx(program: Any, inputs: Sequence[Tensor], path: Path) -> None:
    """One file with its weights inside (ONNX allows 2 GB)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of operators of libraries that are not there
    try:
        torch.onnx.export(
            program, tuple(inputs), str(path), dynamo=True, external_data=False, verbose=False
        )
    finally:
        logger.setLevel(level)


def run_onnx(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What an ONNX file computes under onnxruntime."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    values = {n: each.numpy(force=True) for n, each in zip(names, inputs, strict=True)}
    return [torch.from_numpy(each) for each in session.run(None, values)]


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
