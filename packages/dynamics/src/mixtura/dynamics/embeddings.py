"""From a series of few dimensions to as many as a model takes; taking out a straight trend."""

from collections.abc import Callable
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import InputError

__all__ = [
    "Embedding",
    "delay_embedding",
    "positional_embedding",
    "straight_trend",
    "zero_embedding",
]

Embedding = Callable[[Tensor, int], Tensor]
"""From (frames, units, dims) and the wanted dimensions to (kept frames, units, wanted)."""


def delay_embedding(
    x: Float[Tensor, "frames units dims"], dims: int, delay: int = 1
) -> Float[Tensor, "kept units embedded"]:
    """Append copies of the first dimension, delayed by one, two, ... times `delay` frames.

    Takens, Detecting strange attractors in turbulence, 1981.
    """
    missing = missing_dimensions(x, dims)
    start = missing * delay
    copies = [x[start - k * delay : len(x) - k * delay, :, :1] for k in range(1, missing + 1)]
    return torch.cat([x[start:], *copies], -1)


def positional_embedding(
    x: Float[Tensor, "frames units dims"], dims: int
) -> Float[Tensor, "frames units embedded"]:
    """Append sine and cosine of the phase in the strongest period of the first dimension.

    Further dimensions are those of its harmonics.
    """
    missing = missing_dimensions(x, dims)
    power = torch.fft.rfft(x[..., 0] - x[..., 0].mean(0), dim=0).abs()
    cycles = power[1:].argmax(0) + 1
    place = torch.arange(len(x), device=x.device)[:, None] / len(x)
    phase = 2 * pi * cycles * place
    waves = [(torch.sin, torch.cos)[k % 2](phase * (1 + k // 2)) for k in range(missing)]
    return torch.cat([x, *(wave[..., None].to(x) for wave in waves)], -1)


def zero_embedding(
    x: Float[Tensor, "frames units dims"], dims: int
) -> Float[Tensor, "frames units embedded"]:
    """Append zeros."""
    return torch.nn.functional.pad(x, (0, missing_dimensions(x, dims)))


def missing_dimensions(x: Float[Tensor, "frames units dims"], dims: int) -> int:
    """How many are to be appended.

    Raises:
        InputError: when there are too many.
    """
    missing = dims - x.shape[-1]
    if missing < 0:
        raise InputError(
            f"the model takes at most {dims} dimensions, the context has {x.shape[-1]}; "
            "forecast its dimensions in parts"
        )
    return missing


def straight_trend(
    x: Float[Tensor, "frames units dims"], further: int
) -> tuple[Float[Tensor, "frames units dims"], Float[Tensor, "further units dims"]]:
    """The least-squares line of each series, over its frames and over so many after them."""
    place = torch.arange(len(x) + further, device=x.device, dtype=x.dtype)[:, None, None]
    place = place - (len(x) - 1) / 2
    known = place[: len(x)]
    slope = (known * x).sum(0) / known.square().sum(0).clamp_min(1e-12)
    line = x.mean(0) + slope * place
    return line[: len(x)], line[len(x) :]
