"""Forecasting with a network that returns a whole window, shifted towards the future."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork

LossRegion = Literal["all", "tail"]


class SlidingNetwork(ForecastNetwork):
    """Base of Seg-MoE and MoHETS: `forward` maps x[t : t+L] to x[t+f : t+f+L].

    The first L - f points of the output are a reconstruction of what the window shows, the last f
    are the forecast; a longer horizon is reached by appending forecasts to the window.

    Attributes:
        patch_width: p; a window is a multiple of it.
        step: points taken per pass, int(p * width_factor).
        dynamic_window: whether a short window grows up to L before it drops its oldest points.
        loss_region: whether training looks at all output points or at the last f only.
    """

    def __init__(
        self,
        context_length: int,
        patch_width: int,
        width_factor: float,
        *,
        dynamic_window: bool,
        loss_region: LossRegion,
    ) -> None:
        super().__init__()
        if context_length % patch_width:
            raise InputError(
                f"context_length must be a multiple of patch_width ({patch_width}), "
                f"got {context_length}; try {context_length // patch_width * patch_width}"
            )
        if int(patch_width * width_factor) < 1:
            raise InputError(
                f"width_factor must be at least {1 / patch_width:.3g}, got {width_factor}"
            )
        if loss_region not in ("all", "tail"):
            raise InputError(f"loss_region must be 'all' or 'tail', got {loss_region!r}")
        self.context_length = context_length
        self.patch_width = patch_width
        self.step = min(int(patch_width * width_factor), context_length)
        self.target_length = max(patch_width, self.step)
        self.dynamic_window = dynamic_window
        self.loss_region: LossRegion = loss_region

    @property
    def shortest_context(self) -> int:
        """One patch, or what a pass predicts if that is longer."""
        return max(self.step, self.patch_width)

    def forward(
        self,
        x: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features time"] | None = None,
    ) -> Float[Tensor, "batch variates out"]:
        """The window `target_length` points later."""
        raise NotImplementedError

    def supervise(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> tuple[Float[Tensor, "batch variates out"], Float[Tensor, "batch variates out"]]:
        """The shifted window, all of it or its new points only."""
        window_marks = None if marks is None else marks[..., : past.shape[-1]]
        prediction = self(past, window_marks)
        shifted = torch.cat((past, future[..., : self.target_length]), -1)
        target = shifted[..., -prediction.shape[-1] :]
        if self.loss_region == "all":
            return prediction, target
        return prediction[..., -self.target_length :], target[..., -self.target_length :]

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        shortest = self.shortest_context
        if past.shape[-1] < shortest:
            raise InputError(
                f"{type(self).__name__} needs a look-back of at least {shortest} points, got "
                f"{past.shape[-1]}; give it a longer series"
            )
        window = past[..., -self.context_length :]
        clock = past.shape[-1] - window.shape[-1]  # where the window begins in `marks`
        forecasts = []
        for _ in range(math.ceil(horizon / self.step)):
            spare = window.shape[-1] % self.patch_width
            window, clock = window[..., spare:], clock + spare
            visible = None if marks is None else marks[..., clock : clock + window.shape[-1]]
            prediction = self(window, visible)
            first = prediction.shape[-1] - self.target_length
            forecasts.append(prediction[..., first : first + self.step])
            if not self.dynamic_window:
                window, clock = window[..., self.step :], clock + self.step
            window = torch.cat((window, forecasts[-1]), -1)
            over = max(0, window.shape[-1] - self.context_length)
            window, clock = window[..., over:], clock + over
        return torch.cat(forecasts, -1)[..., :horizon]
