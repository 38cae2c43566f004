"""A router that remembers what the layers below decided."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score

__all__ = ["RecurrentScore", "RouterCell"]


@configurable
class RouterCell(nn.Module):
    """The recurrent cell that the routers of all layers share.

    `gru`: r = sigmoid(W_ir v + b_ir + W_hr h + b_hr), z alike, n = tanh(W_in v + b_in +
    r * (W_hn h + b_hn)), h' = (1 - z) n + z h, as torch.nn.GRUCell. `rnn`: h' = tanh(W_i v + b_i +
    W_h h + b_h).

    Args:
        hidden_dim: width of the state.
        kind: gru or rnn.
    """

    def __init__(self, hidden_dim: int, *, kind: str = "gru") -> None:
        super().__init__()
        check_sizes(hidden_dim=hidden_dim)
        check_option("kind", kind, ("gru", "rnn"))
        self.hidden_dim = hidden_dim
        self.kind = kind
        cell = nn.GRUCell if kind == "gru" else nn.RNNCell
        self.cell = cell(hidden_dim, hidden_dim)

    def forward(
        self, v: Float[Tensor, "units hidden"], state: Float[Tensor, "units hidden"]
    ) -> Float[Tensor, "units hidden"]:
        """The next state, in the precision of `v`."""
        cell = self.cell
        from_input = F.linear(v, cell.weight_ih.to(v.dtype), cell.bias_ih.to(v.dtype))
        from_state = F.linear(state, cell.weight_hh.to(v.dtype), cell.bias_hh.to(v.dtype))
        if self.kind == "rnn":
            return torch.tanh(from_input + from_state)
        input_r, input_z, input_n = from_input.chunk(3, -1)
        state_r, state_z, state_n = from_state.chunk(3, -1)
        r, z = torch.sigmoid(input_r + state_r), torch.sigmoid(input_z + state_z)
        n = torch.tanh(input_n + r * state_n)
        return (1 - z) * n + z * state


@configurable
class RecurrentScore(Score):
    """`h_l = cell(W1 x, h_(l-1))`, `z = W2 h_l`; the state runs through the depth of the model.

    The state goes in as `state` (nothing for the first layer) and comes out as
    `routing.aux["state"]`; layers without experts in between pass it by. Gradients flow through it.
    There is no recurrence over the units, so nothing needs to be cached in decoding.

        routing = layer.route(x, state=state)
        y, state = layer.compute(x, routing), routing.aux["state"]

    Qiu et al., Layerwise Recurrent Router for Mixture-of-Experts, ICLR 2025 (arXiv 2408.06793).

    Args:
        dim: width of what the router looks at.
        num_experts: number of logits.
        cell: the cell; give all layers the same object to share it, as the paper does.
    """

    context = frozenset({"state"})
    expert_axes: ClassVar[dict[str, int]] = {"output_weight": 0}

    def __init__(self, dim: int, num_experts: int, cell: RouterCell) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        self.dim = dim
        self.num_experts = num_experts
        self.cell = cell
        self.input_weight = nn.Parameter(torch.empty(cell.hidden_dim, dim))
        self.output_weight = nn.Parameter(torch.empty(num_experts, cell.hidden_dim))
        nn.init.normal_(self.input_weight, std=dim**-0.5)
        nn.init.normal_(self.output_weight, std=0.1 * cell.hidden_dim**-0.5)

    def forward(
        self,
        x: Float[Tensor, "units dim"],
        *,
        state: Float[Tensor, "units hidden"] | None = None,
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits, and the state for the next layer."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            v = F.linear(x.to(precise), self.input_weight.to(precise))
            if state is not None and state.shape != (len(x), self.cell.hidden_dim):
                raise InputError(
                    f"the router state must be ({len(x)}, {self.cell.hidden_dim}), got "
                    f"{tuple(state.shape)}"
                )
            if state is None:
                state = v.new_zeros(v.shape[0], self.cell.hidden_dim)
            hidden = self.cell(v, state.to(precise))
            return F.linear(hidden, self.output_weight.to(precise)), {"state": hidden}
