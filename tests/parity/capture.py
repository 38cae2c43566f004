"""Outputs of a model's parts during one pass."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def captured(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect each part's output (the last one, if it is called more than once) under its name."""
    outputs: dict[str, Tensor] = {}
    handles = []
    for name, part in parts.items():

        def keep(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            outputs[name] = output

        handles.append(part.register_forward_hook(keep))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
