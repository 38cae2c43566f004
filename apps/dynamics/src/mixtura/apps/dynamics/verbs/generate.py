"""Write a published data set, generated exactly."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mixtura.core.errors import InputError
from mixtura.datasets.dynamics import Precision
from mixtura.datasets.dynamics.names import GENERATED, PUBLISHED

__all__ = ["generate"]


def generate(name: str, out: str = "data", high_precision: bool = False) -> Path:
    """Generate a data set and write one .npz file per split.

    Args:
        name: lotka_volterra, selkov, glycolytic, odebench4, odebench10, noisy_lorenz, lorenz63 or
            rossler.
        out: Folder; the data set gets one inside.
        high_precision: Integrate to 1e-10 instead of as published (about 1e-3).
    """
    plain = name.lower().replace("-", "_")
    if plain not in GENERATED:
        near = get_close_matches(plain, GENERATED, n=3, cutoff=0.4) or list(GENERATED)
        raise InputError(f"no system is called {name!r}; did you mean {', '.join(near)}?")
    make = GENERATED[plain]
    if high_precision and plain not in PUBLISHED:
        raise InputError(f"{plain} has no other precision; leave --high_precision out")
    data = make(Precision.high()) if high_precision else make()  # pyright: ignore[reportCallIssue]
    folder = Path(out) / plain
    console = Console()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, content in {**data.splits(), "long": data.long}.items():
            if content is None:
                continue
            extra: dict[str, Any] = {} if content.family is None else {"family": content.family}
            np.savez(folder / f"{split}.npz", X=content.x, t=content.t, **extra)
            console.print(f"  {folder / split}.npz  X {content.x.shape}", highlight=False)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose --out") from error
    if data.notes:
        console.print(data.notes, highlight=False)
    return folder
