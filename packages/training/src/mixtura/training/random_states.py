"""The states of all random generators as plain values and tensors, for checkpoints."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["random_states", "restore_random_states"]


def random_states() -> dict[str, Any]:
    """Those of torch, CUDA, Python and NumPy; `torch.load(weights_only=True)` reads them."""
    python = random.getstate()
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    keys = torch.from_numpy(np.asarray(keys, np.int64))
    return {
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
        "python": [python[0], list(python[1]), python[2]],
        "numpy": [kind, keys, position, has_gauss, gauss],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Go on with what `random_states` gave; CUDA only with as many devices as there were."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, numbers, position, has_gauss, cached = states["numpy"]
    np.random.set_state(  # noqa: NPY002
        (kind, numbers.numpy().astype(np.uint32), position, has_gauss, cached)
    )
