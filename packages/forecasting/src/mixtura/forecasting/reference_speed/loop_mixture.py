"""A mixture of experts as a Python loop over expert modules."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import GLUExperts, MLPExperts, MoELayer, SegmentUnits
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.feed_forward import FeedForward, GatedFeedForward
from mixtura.forecasting.networks.fourier import FourierExperts, FourierFeedForward
from mixtura.forecasting.networks.segment_mixture import to_segments, to_tokens
from mixtura.forecasting.reference_speed.plain_attention import PlainAttention

__all__ = ["LoopMixture", "with_loops"]


class LoopMixture(nn.Module):
    """What the released code of Time-MoE, Seg-MoE and MoHETS does with the weights of a layer.

    Softmax, top-k, a one-hot mask; for each expert the units that chose it are looked up, gathered,
    put through the expert's own module, weighted, and added into the output.

    Args:
        layer: whose weights are copied.

    Raises:
        InputError: for experts that the three do not have.
    """

    def __init__(self, layer: MoELayer) -> None:
        super().__init__()
        selection: Any = layer.router.selection
        self.top_k, self.num_experts = selection.k, layer.num_experts
        how = selection.renormalize
        self.renormalize = how == "always" or (how == "if_k>1" and self.top_k > 1)
        self.size = layer.units.size if isinstance(layer.units, SegmentUnits) else 1
        self.gate: Any = copy.deepcopy(layer.router.score_function)
        self.experts = nn.ModuleList(single_experts(layer.experts))
        self.shared: Any = copy.deepcopy(layer.shared)
        self.shared_sees_sequences = layer.shared is not None and layer.shared.view == "input"
        self.dropout = layer.router.dropout

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """The routed experts one after the other, then the shared one."""
        dim = x.shape[-1]
        segments = to_segments(x, self.size)
        units = segments.flatten(0, 1)
        scores = F.linear(units, self.gate.weight).float().softmax(-1)
        scores = F.dropout(scores, self.dropout, self.training)
        weights, chosen = scores.topk(self.top_k, -1)
        if self.renormalize:
            weights = weights / weights.sum(-1, keepdim=True)
        weights = weights.to(x.dtype)
        y = torch.zeros_like(units)
        choice = F.one_hot(chosen, self.num_experts).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            place, unit = torch.where(choice[number])
            rows = units[unit].view(-1, self.size, dim)
            output = expert(rows).flatten(1) * weights[unit, place, None]
            y.index_add_(0, unit, output.to(y.dtype))
        if self.shared is not None and not self.shared_sees_sequences:
            y = y + torch.sigmoid(self.shared.gate(units)) * self.shared.module(units)
        y = to_tokens(y.view_as(segments), x.shape[1], self.size)
        if self.shared is not None and self.shared_sees_sequences:
            y = y + torch.sigmoid(self.shared.gate(x)) * self.shared.module(x)
        return y


def single_experts(experts: nn.Module) -> list[nn.Module]:
    """One module for each of the stacked experts, with their weights."""
    dropout = float(getattr(experts, "dropout", 0.0))
    single: list[nn.Module] = []
    state = experts.state_dict()
    for number in range(int(experts.num_experts)):  # pyright: ignore[reportArgumentType]
        own = {name: value[number] for name, value in state.items()}
        if isinstance(experts, GLUExperts):
            hidden, dim = own["down"].shape[1], own["down"].shape[0]
            module: nn.Module = GatedFeedForward(dim, hidden, dropout=dropout)
            module.up.weight.data, module.gate.weight.data = own["gate_up"].chunk(2)
            module.down.weight.data = own["down"]
        elif isinstance(experts, MLPExperts):
            hidden, dim = own["up"].shape
            module = FeedForward(dim, hidden, dropout=dropout)
            module.up.weight.data, module.down.weight.data = own["up"], own["down"]
        elif isinstance(experts, FourierExperts):
            hidden, dim = own["down"].shape[1], own["up"].shape[1]
            module = FourierFeedForward(dim, hidden, dropout=dropout)
            for layer, name in ((module.up, "up"), (module.down, "down")):
                waves = layer.wave.weight.shape[0]
                layer.wave.weight.data = own[name][:waves]
                layer.rest.weight.data = own[name][waves:]
        else:
            raise InputError(f"no loop is known for {type(experts).__name__}")
        single.append(copy.deepcopy(module))
    return single


def with_loops(network: nn.Module) -> nn.Module:
    """A copy of a network with the loop in every mixture and with plain attention."""
    twin = copy.deepcopy(network)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MoELayer):
                setattr(parent, name, LoopMixture(child))
            elif isinstance(child, GroupedQueryAttention):
                setattr(parent, name, PlainAttention(child))
    return twin
