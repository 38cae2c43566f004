"""Buffers that stay float32 whatever the model is converted to."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["PreciseBuffers"]


class PreciseBuffers(nn.Module):
    """A module whose own floating-point buffers keep their precision under `.bfloat16()`.

    A bias that moves by 0.001 a step is lost in bfloat16 without a sound.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PreciseBuffers":
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            if old is None or new is None or new.dtype == old.dtype or not old.is_floating_point():
                continue
            self._buffers[name] = torch.empty_like(old, device=new.device).copy_(old)
        return self
