"""What the experts of each layer did on some batches, collected for pictures and tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import LayerStatistics, Routing, moe_layers, record_routing
from mixtura.core.errors import InputError
from mixtura.training.module import MoEModule

__all__ = ["Layer", "Observation", "observe", "positions"]


@dataclass
class Layer:
    """One layer's routing over the observed batches.

    Attributes:
        statistics: Counts and entropies.
        together: How often two experts worked on the same unit.
        aspects: By aspect: counts of each category and expert, and the names of the categories.
        examples: For the first samples: the expert of largest weight at each unit, -1 for none.
        first: The expert with the largest weight of every unit, in order.
    """

    statistics: LayerStatistics
    together: Int[Tensor, "experts experts"]
    aspects: dict[str, tuple[Int[Tensor, "categories experts"], list[str]]] = field(
        default_factory=dict
    )
    examples: list[Int[Tensor, "units"]] = field(default_factory=list)
    first: list[Int[Tensor, "units"]] = field(default_factory=list)

    @property
    def num_experts(self) -> int:
        """Experts of the layer."""
        return len(self.statistics.counts)


@dataclass
class Observation:
    """What `observe` found.

    Attributes:
        name: Of the checkpoint.
        layers: By name.
        samples: How many samples were seen.
        captions: Of the examples.
    """

    name: str
    layers: dict[str, Layer]
    samples: int
    captions: list[str]


def observe(
    module: MoEModule, batches: Iterable[Any], name: str, num_batches: int = 20, examples: int = 4
) -> Observation:
    """Run evaluation batches and collect what every layer routed.

    Args:
        module: A trained module.
        batches: Of its evaluation.
        name: Of the checkpoint, for titles.
        num_batches: How many batches to look at.
        examples: Samples of the first batch whose routing is kept in full.

    Raises:
        InputError: when the network has no MoE layer.
    """
    if not moe_layers(module.network):
        raise InputError(
            f"{type(module.network).__name__} has no MoE layer, so there is no routing to look at; "
            "inspect a model with experts"
        )
    module.eval()
    seen = Observation(name, {}, 0, [])
    for number, batch in enumerate(batches):
        if number == num_batches:
            break
        with torch.no_grad(), record_routing(module.network) as record:
            module.evaluate(batch)
        if number == 0:
            seen.captions = list(module.captions(batch))[:examples]
        seen.samples += module.batch_size(batch)
        for layer, calls in record.calls.items():
            for call in calls:
                aspects = {"position": positions(call), **module.aspects(batch, layer, call)}
                _add(seen.layers, layer, call, aspects, examples if number == 0 else 0)
    if not seen.layers:
        raise InputError("the data has no batch to look at; check the test split")
    return seen


def positions(routing: Routing) -> Int[Tensor, "units"]:
    """The place of each unit in its sample."""
    samples = routing.num_samples or routing.num_units
    return torch.arange(routing.num_units) % max(1, routing.num_units // max(samples, 1))


def _add(
    layers: dict[str, Layer],
    name: str,
    routing: Routing,
    aspects: Mapping[str, Sequence[Any] | Tensor],
    examples: int,
) -> None:
    statistics = LayerStatistics.of([routing])
    experts = routing.num_experts
    chosen = torch.zeros(routing.num_units, experts + 1, dtype=torch.int64)
    chosen[routing.unit.cpu(), routing.expert.cpu()] = 1
    chosen = chosen[:, :experts]
    together = chosen.T @ chosen
    if name in layers:
        layer = layers[name]
        layer.statistics = layer.statistics + statistics
        layer.together = layer.together + together
    else:
        layer = layers[name] = Layer(statistics, together)
    for aspect, values in aspects.items():
        _count(layer, aspect, values, chosen)
    first = _first(routing, experts)
    layer.first.append(first)
    samples = routing.num_samples or routing.num_units
    per_sample = max(1, routing.num_units // max(samples, 1))
    if not layer.examples and examples:
        layer.examples = list(first[: examples * per_sample].split(per_sample))


def _count(layer: Layer, aspect: str, values: Sequence[Any] | Tensor, chosen: Tensor) -> None:
    """Add the counts of each category; new categories go behind the known ones."""
    names = [str(v) for v in (values.tolist() if isinstance(values, Tensor) else values)]
    counts, known = layer.aspects.get(
        aspect, (torch.zeros(0, chosen.shape[1], dtype=torch.int64), [])
    )
    order = {each: place for place, each in enumerate(known)}
    for each in names:
        order.setdefault(each, len(order))
    grown = torch.zeros(len(order), chosen.shape[1], dtype=torch.int64)
    grown[: len(known)] = counts
    grown.index_add_(0, torch.tensor([order[each] for each in names]), chosen)
    layer.aspects[aspect] = (grown, list(order))


def _first(routing: Routing, experts: int) -> Int[Tensor, "units"]:
    """The valid expert with the largest weight of each unit; -1 where there is none."""
    weight = torch.full((routing.num_units, experts + 1), -torch.inf)
    found: Float[Tensor, "assignments"] = routing.weight.detach().float().cpu()
    weight[routing.unit.cpu(), routing.expert.cpu()] = found
    best = weight[:, :experts].max(1)
    return torch.where(best.values > -torch.inf, best.indices, -1)
