"""The layer that a mixture grows out of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.core.experts.activations import activation_function

__all__ = ["DenseFFN"]


@dataclass
class DenseFFN:
    """The linear maps of a feed-forward layer, whatever module they belong to.

    `down(act(up x))`, or `down(act(gate x) * up x)` with a gate.

    Attributes:
        up: dim to hidden.
        down: hidden to dim.
        gate: dim to hidden.
        activation: by name.
    """

    up: nn.Linear
    down: nn.Linear
    gate: nn.Linear | None = None
    activation: str = "gelu"

    def __post_init__(self) -> None:
        activation_function(self.activation)
        for name, layer in (("down", self.down), ("gate", self.gate)):
            if layer is None:
                continue
            hidden = layer.in_features if name == "down" else layer.out_features
            if hidden != self.up.out_features:
                raise InputError(
                    f"up has {self.up.out_features} hidden units, but {name} has {hidden}"
                )
        if self.gate is not None and (self.gate.bias is None) != (self.up.bias is None):
            raise InputError("gate and up must both have a bias or neither")
        if (self.down.bias is None) != (self.up.bias is None):
            raise InputError("up and down must both have a bias or neither")

    @property
    def hidden_dim(self) -> int:
        """Hidden units."""
        return self.up.out_features

    @property
    def has_bias(self) -> bool:
        """Whether the maps have offsets."""
        return self.up.bias is not None

    def __call__(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows out"]:
        """What the dense layer computes."""
        hidden = self.up(x)
        act = activation_function(self.activation)
        hidden = act(hidden) if self.gate is None else act(self.gate(x)) * hidden
        return self.down(hidden)

    def piece(self, number: int, pieces: int) -> dict[str, Tensor]:
        """One of equal slices of the hidden units, under the names of an expert's parameters.

        The slices' outputs add up to the layer's: each has its share of the last offset.
        """
        width = self.hidden_dim // pieces
        rows = slice(number * width, (number + 1) * width)
        up = [self.up] if self.gate is None else [self.gate, self.up]
        first = "up" if self.gate is None else "gate_up"
        found = {
            first: torch.cat([layer.weight[rows] for layer in up]),
            "down": self.down.weight[:, rows],
        }
        if self.has_bias:
            found[f"{first}_bias"] = torch.cat([layer.bias[rows] for layer in up])
            found["down_bias"] = self.down.bias / pieces
        return {name: value.detach().clone() for name, value in found.items()}
