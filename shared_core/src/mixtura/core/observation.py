"""Observation: what happens inside expert layers, exactly as much of it as is asked for."""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.core.layer import MoELayer
from mixtura.core.record import moe_layers
from mixtura.core.routing import Routing

__all__ = ["Observation", "Observed", "observe"]

Field = Literal[
    "x",
    "residual_in",
    "logits",
    "scores",
    "indices",
    "weights",
    "expert_out_norm",
    "expert_out_absmax",
    "routed_out",
    "shared_out",
]
OF_OUTPUTS = frozenset({"expert_out_norm", "expert_out_absmax"})


@dataclass
class Observed:
    """One forward pass of one layer; fields that were not asked for are None.

    Shape letters: U units, K choices, E experts. `indices` and `weights` are (U, K) where units
    choose experts, (N) for a list of assignments; norms and maxima are of the outputs before the
    combine weight, over the width, in the same shape (zero for what is not valid), or (U, E) of all
    experts under `all_experts`.

    Attributes:
        layer: name of the layer.
        valid: which assignments count, in the shape of `indices`; None means all.
        num_experts: E.
        values: the fields by name.
    """

    layer: str
    num_experts: int
    valid: Tensor | None = None
    values: dict[str, Tensor | None] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Tensor | None:
        if name in get_args(Field):
            return self.__dict__["values"].get(name)
        raise AttributeError(name)


class Observation:
    """The observed passes, in order, while the context is open.

    Args:
        want: the fields.
        all_experts: whether every unit goes through every expert for the statistics.
    """

    def __init__(self, want: Set[str], *, all_experts: bool) -> None:
        self.want = frozenset(want)
        self.all_experts = all_experts
        self.events: list[Observed] = []
        self._residual: dict[str, Tensor] = {}

    def watch(self, name: str, layer: MoELayer, units: Tensor, routing: Routing) -> Tensor:
        """Carry out a routing with the statistics that are asked for; returns the routed output."""
        rows = layer.experts(routing.gather(units), routing)
        routed = routing.combine(rows)
        event = Observed(name, routing.num_experts)
        if routing.index is not None:
            event.valid = routing.valid
        elif routing.may_be_invalid:
            event.valid = routing.expert < routing.num_experts
        found: dict[str, Any] = {
            "x": units,
            "residual_in": self._residual.get(name),
            "logits": routing.logits,
            "scores": routing.scores,
            "indices": routing.expert if routing.index is None else routing.index,
            "weights": _in_shape(_weight(routing), routing),
            "routed_out": routed,
        }
        if self.all_experts and self.want & OF_OUTPUTS:
            found |= _of_all(layer, units)
        elif self.want & OF_OUTPUTS:
            flat = rows.detach().flatten(1).float()
            found["expert_out_norm"] = _place(flat.norm(dim=-1), routing)
            found["expert_out_absmax"] = _place(flat.abs().amax(-1), routing)
        event.values = {
            key: value.detach() if isinstance(value, Tensor) else value
            for key, value in found.items()
            if key in self.want
        }
        self.events.append(event)
        return routed

    def watch_shared(self, y: Tensor) -> None:
        """The shared expert's output of the pass that was watched last."""
        if "shared_out" in self.want and self.events:
            self.events[-1].values["shared_out"] = y.detach()


def _weight(routing: Routing) -> Tensor:
    """The weight of each assignment, wherever it is multiplied: before the expert or behind it."""
    before = routing.input_weight
    return routing.weight if before is None else routing.weight * before


def _place(values: Float[Tensor, "valid"], routing: Routing) -> Tensor:
    """Values of sorted rows in the shape of the assignments."""
    missing = len(routing.order) - len(values)
    values = torch.cat([values, values.new_zeros(missing)])
    return _in_shape(values.index_select(0, routing.inverse), routing)


def _in_shape(values: Tensor, routing: Routing) -> Tensor:
    return values if routing.index is None else values.view(routing.index.shape)


@torch.no_grad()
def _of_all(layer: MoELayer, units: Tensor) -> dict[str, Tensor]:
    norms, largest = [], []
    for expert in range(layer.num_experts):
        flat = layer.experts.one(expert, units).flatten(1).float()
        norms.append(flat.norm(dim=-1))
        largest.append(flat.abs().amax(-1))
    return {
        "expert_out_norm": torch.stack(norms, -1),
        "expert_out_absmax": torch.stack(largest, -1),
    }


@contextmanager
def observe(
    model: nn.Module, want: Set[str], *, all_experts: bool = False
) -> Iterator[Observation]:
    """Keep the fields `want` of every pass of every expert layer while the context is open.

    Norms and maxima are computed where the rows are, never from stored outputs. `residual_in` is
    the input of the module that holds the layer: the residual stream, in a pre-norm block.

        with observe(model, {"indices", "weights", "expert_out_norm"}) as seen:
            model(x)
        for event in seen.events: ...

    Args:
        model: the model.
        want: fields of `Observed`.
        all_experts: send every unit through every expert too, so that quantisers and statistics
            reach experts that calibration data never choose; the output stays that of the chosen.

    Raises:
        InputError: for an unknown field or a model without expert layers.
    """
    unknown = sorted(set(want) - set(get_args(Field)))
    if unknown:
        raise InputError(
            f"cannot observe {', '.join(unknown)}; choose from {', '.join(get_args(Field))}"
        )
    layers = moe_layers(model)
    if not layers:
        raise InputError(f"{type(model).__name__} has no MoELayer, so there is nothing to observe")
    seen = Observation(want, all_experts=all_experts)
    hooks = []
    if "residual_in" in seen.want:
        modules = {
            name.replace("_orig_mod.", "").removesuffix("_orig_mod"): module
            for name, module in model.named_modules()
        }
        for name in layers:
            if name:
                parent = modules[name.rpartition(".")[0]]
                hooks.append(parent.register_forward_pre_hook(_remember_input(seen, name)))
    for name, layer in layers.items():
        if not layer.dispatch.whole:
            raise InputError(
                f"the experts of layer {name!r} are spread over processes, and observation needs "
                "them in one; observe a model whose experts are whole"
            )
        if layer._observer is not None:
            raise InputError(f"layer {name!r} is being observed already; close that first")
        layer._observer = (name, seen)
    try:
        yield seen
    finally:
        for layer in layers.values():
            layer._observer = None
        for hook in hooks:
            hook.remove()
        seen._residual.clear()


def _remember_input(seen: Observation, name: str):
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            seen._residual[name] = args[0].detach()

    return hook
