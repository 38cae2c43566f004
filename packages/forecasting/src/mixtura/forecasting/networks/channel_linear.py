"""A linear map along time, shared by the variates or one for each."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ChannelLinear(nn.Module):
    """`y_c = W_c x_c + b_c`; all variates share one W unless `num_variates` is given."""

    def __init__(self, length: int, horizon: int, num_variates: int | None = None) -> None:
        super().__init__()
        self.individual = num_variates is not None
        stack = [nn.Linear(length, horizon) for _ in range(num_variates or 1)]
        self.weight = nn.Parameter(torch.stack([linear.weight.detach() for linear in stack]))
        self.bias = nn.Parameter(torch.stack([linear.bias.detach() for linear in stack]))

    def forward(
        self, x: Float[Tensor, "batch variates time"]
    ) -> Float[Tensor, "batch variates horizon"]:
        """Each variate's window to its horizon."""
        if len(self.weight) == 1:
            return nn.functional.linear(x, self.weight[0], self.bias[0])
        return torch.einsum("bcl,chl->bch", x, self.weight) + self.bias
