"""One fixture folder: options, weights, inputs and expected values."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .options import Options

DESCRIPTION = "config.json"
WEIGHTS = "weights"
INPUTS = "inputs"


def is_fixture(folder: Path) -> bool:
    """Whether the folder itself holds a fixture."""
    return any(
        path.name == DESCRIPTION
        or path.name in ("expected.json", "outputs.json")
        or path.suffix == ".safetensors"
        for path in folder.iterdir()
        if path.is_file()
    )


def find_fixtures(folder: Path) -> list[Path]:
    """The folder if it is a fixture, else every fixture below it, in order of name."""
    below = [path for path in folder.rglob("*") if path.is_dir()]
    return sorted(path for path in [folder, *below] if is_fixture(path))


class Fixture:
    """The contents of one folder.

    `weights*.safetensors` are weights (of several files, keys get the file's name as prefix only
    where names clash), `inputs.safetensors` are inputs, every other tensor and every leaf of a
    JSON file other than config.json is an expected value until `input` takes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        description = folder / DESCRIPTION
        self.options = Options(json.loads(description.read_text()) if description.exists() else {})
        self.weights: dict[str, Tensor] = {}
        self.inputs: dict[str, Any] = {}
        self.expected: dict[str, Any] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix == ".safetensors":
                self._place(path).update(load_file(path))
            elif path.name != DESCRIPTION and path.name.endswith((".json", ".json.gz")):
                self._place(path).update(flatten(read_json(path)))

    def _place(self, path: Path) -> dict[str, Any]:
        if path.name.startswith(WEIGHTS):
            return self.weights
        return self.inputs if path.name.startswith(INPUTS) else self.expected

    def input(self, name: str) -> Any:
        """The stored value `name`, which is from now on an input and needs no comparison."""
        if name not in self.inputs:
            self.inputs[name] = self.expected.pop(name)
        value = self.inputs[name]
        return value.clone() if isinstance(value, Tensor) else value

    def get(self, name: str) -> Any:
        """The expected value `name`, which still has to be compared."""
        return self.expected[name]

    def has(self, name: str) -> bool:
        """Whether the fixture holds a value of this name, input or expected."""
        return name in self.inputs or name in self.expected

    def ignore(self, names: Iterable[str]) -> None:
        """Take values that only describe the fixture (scenario texts) out of the comparison."""
        for name in list(names):
            self.input(name)

    def weights_of(self, prefix: str) -> dict[str, Tensor]:
        """The weights whose names begin with `prefix.`, without it."""
        start = prefix + "."
        return {k[len(start) :]: v.clone() for k, v in self.weights.items() if k.startswith(start)}


def read_json(path: Path) -> Any:
    """A JSON file, compressed or not."""
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of a JSON tree under dotted names; a list of numbers is one leaf."""
    if isinstance(value, Mapping):
        parts = [
            flatten(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()
        ]
        return {name: leaf for part in parts for name, leaf in part.items()}
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        parts = [flatten(item, f"{prefix}.{position}") for position, item in enumerate(value)]
        return {name: leaf for part in parts for name, leaf in part.items()}
    return {prefix: value}


def as_tensor(value: Any) -> Tensor:
    """A stored number, list or tensor as a tensor; numbers of JSON files keep double precision."""
    if isinstance(value, Tensor):
        return value.detach()
    tensor = torch.as_tensor(value)
    return torch.as_tensor(value, dtype=torch.float64) if tensor.is_floating_point() else tensor
