"""Which expert worked where in a look-back: one pass of a network over windows."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import Routing, moe_layers, record_routing
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.evaluation import evaluating
from mixtura.forecasting.networks.moirai_moe import MoiraiMoE
from mixtura.forecasting.networks.packed_series import pack_windows
from mixtura.forecasting.networks.time_moe import TimeMoE
from mixtura.forecasting.networks.wrapped import WrappedNetwork

__all__ = ["ExpertView", "expert_views", "mixture_of"]


@dataclass(frozen=True)
class ExpertView:
    """One layer's choices over the windows that were looked at.

    Attributes:
        chosen: the expert of largest weight of each unit, -1 where there is none; the series are
            window by window, in each the variates.
        span: points of a unit.
        num_experts: E.
    """

    chosen: Int[Tensor, "series units"]
    span: int
    num_experts: int

    def of_points(self, length: int) -> Int[Tensor, "series {length}"]:
        """The expert of each point of the window."""
        return self.chosen.repeat_interleave(self.span, 1)[:, :length]


def mixture_of(network: ForecastNetwork) -> ForecastNetwork:
    """The network inside heads and corrections."""
    while isinstance(network, WrappedNetwork):
        network = network.network
    return network


@torch.no_grad()
def expert_views(
    network: ForecastNetwork,
    past: Float[Tensor, "batch variates time"],
    marks: Float[Tensor, "batch features all"] | None = None,
) -> dict[str, ExpertView]:
    """Every layer's choices in one pass over look-backs.

    Args:
        network: with MoE layers; not changed.
        past: look-backs of whole patches.
        marks: calendar features and covariates, for networks that look at them.

    Raises:
        InputError: for a network without experts.
    """
    network = mixture_of(network)
    layers = moe_layers(network)
    if not layers:
        raise InputError(
            f"{type(network).__name__} has no MoE layer, so there is nothing to see; inspect a "
            "model with experts"
        )
    with evaluating(network), record_routing(network) as record:
        _pass(network, past, marks)
    width = getattr(network, "patch_width", 1)
    series, length = past.shape[0] * past.shape[1], past.shape[2]
    views = {}
    for name, calls in record.calls.items():
        span = width * getattr(record.layers[name].units, "size", 1)
        count = -(-length // span)
        first = _first(calls[0]).view(past.shape[0], -1)
        chosen = first[:, : past.shape[1] * count].reshape(series, count)
        views[name] = ExpertView(chosen, span, calls[0].num_experts)
    return views


def _pass(network: ForecastNetwork, past: Tensor, marks: Tensor | None) -> None:
    if isinstance(network, TimeMoE):
        network.hidden(past.flatten(0, 1))
    elif isinstance(network, MoiraiMoE):
        width = network.patch_width
        network.hidden(pack_windows(past, width, width))
    elif marks is not None and network.looks_at_marks:
        network(past, marks[..., : past.shape[-1]])
    else:
        network(past)


def _first(routing: Routing) -> Int[Tensor, " units"]:
    """The expert with the largest weight of every unit; -1 where there is none."""
    weight = torch.full((routing.num_units, routing.num_experts + 1), -torch.inf)
    weight[routing.unit.cpu(), routing.expert.cpu()] = routing.weight.float().cpu()
    best = weight[:, :-1].max(1)
    return torch.where(best.values > -torch.inf, best.indices, -1)
