"""Keys and values of past tokens, kept between the steps of a generation."""

import torch
from jaxtyping import Float
from torch import Tensor


class KeyValueCache:
    """One growing pair of tensors per layer, allocated once for `capacity` tokens."""

    def __init__(self, num_layers: int, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._keys: list[Tensor | None] = [None] * num_layers
        self._values: list[Tensor | None] = [None] * num_layers

    def extend(
        self,
        layer: int,
        keys: Float[Tensor, "batch heads new head_dim"],
        values: Float[Tensor, "batch heads new head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads all head_dim"], Float[Tensor, "batch heads all head_dim"]
    ]:
        """Append new tokens of a layer and return everything seen so far."""
        batch, heads, new, head_dim = keys.shape
        end = self.length + new
        if self._keys[layer] is None:
            shape = (batch, heads, self.capacity, head_dim)
            self._keys[layer] = torch.empty(shape, dtype=keys.dtype, device=keys.device)
            self._values[layer] = torch.empty(shape, dtype=keys.dtype, device=keys.device)
        stored_keys, stored_values = self._keys[layer], self._values[layer]
        assert stored_keys is not None
        assert stored_values is not None
        stored_keys[:, :, self.length : end] = keys
        stored_values[:, :, self.length : end] = values
        return stored_keys[:, :, :end], stored_values[:, :, :end]

    def advance(self, new: int) -> None:
        """All layers have stored `new` tokens."""
        self.length += new
