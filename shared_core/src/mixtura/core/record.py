"""Recording: one mechanism for training losses, monitoring, calibration and plots."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.core.layer import MoELayer
from mixtura.core.routing import Routing
from mixtura.core.sink import Call, Sink
from mixtura.core.statistics import LayerStatistics

__all__ = ["Record", "moe_layers", "record_routing"]


class Record:
    """Every routing of every layer of a model since the record was opened, as references.

    Opening a record adds no operation to the model; losses and statistics are computed afterwards.

    Args:
        layers: the layers to listen to, by name.
    """

    def __init__(self, layers: dict[str, MoELayer]) -> None:
        self.layers = layers
        self._sinks: dict[str, Sink] = {}
        self._start: dict[str, Call] = {}
        self._closed: dict[str, list[Routing]] | None = None

    @property
    def calls(self) -> dict[str, list[Routing]]:
        """Each layer's routings in the order of its calls, without those recomputed in backward."""
        found = self._closed
        if found is None:
            found = {name: s.since(self._start[name]) for name, s in self._sinks.items()}
        return {name: [c for c in calls if not bool(c.replayed)] for name, calls in found.items()}

    def losses(self) -> dict[str, Float[Tensor, ""]]:
        """The weighted auxiliary terms, by name: add them to the task loss.

        A loss of scope "layer" gives one term `name/layer` for each layer that has it; one of scope
        "model" is computed once over the calls of all layers that have the same loss, in the order
        of the layers, and is called `name`.
        """
        calls = self.calls
        terms: dict[str, Tensor] = {}
        pooled: dict[tuple, tuple] = {}
        for layer_name, layer in self.layers.items():
            if not calls[layer_name]:
                continue
            for loss in layer.losses:
                if loss.scope == "model":
                    _, members = pooled.setdefault(loss.key(), (loss, []))
                    members.extend(calls[layer_name])
                else:
                    name = _free_name(f"{loss.name}/{layer_name}", terms)
                    terms[name] = loss.weight * loss(calls[layer_name])
        for loss, members in pooled.values():
            terms[_free_name(loss.name, terms)] = loss.weight * loss(members)
        return terms

    def statistics(self, *, across_ranks: bool = False) -> dict[str, LayerStatistics]:
        """What each layer's experts got to do, without gradients.

        Args:
            across_ranks: over all processes, which then all have to ask.
        """
        found = {name: LayerStatistics.of(calls) for name, calls in self.calls.items() if calls}
        if not across_ranks:
            return found
        return {name: one.across_ranks() for name, one in found.items()}

    def _open(self) -> None:
        for name, layer in self.layers.items():
            if layer._sink is None:
                layer._sink = Sink()
            self._sinks[name] = layer._sink
            self._start[name] = layer._sink.last

    def _close(self, outermost: dict[str, bool]) -> None:
        self._closed = {name: s.since(self._start[name]) for name, s in self._sinks.items()}
        for name, layer in self.layers.items():
            if outermost[name]:
                layer._sink = None


@contextmanager
def record_routing(model: nn.Module) -> Iterator[Record]:
    """Keep every routing that the MoE layers of `model` decide while the context is open.

    Example:
        with record_routing(model) as record:
            y = model(x)
        loss = task_loss(y) + sum(record.losses().values())

    Raises:
        InputError: when the model has no MoE layer.
        RuntimeError: in the forward pass, when a layer in training mode runs without gradients.
    """
    layers = moe_layers(model)
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no MoELayer, so there is no routing to record; "
            "pass the model that holds the layers"
        )
    outermost = {name: layer._sink is None for name, layer in layers.items()}
    record = Record(layers)
    record._open()
    try:
        yield record
    finally:
        record._close(outermost)


def moe_layers(model: nn.Module) -> dict[str, MoELayer]:
    """The MoE layers inside `model` by name, the wrapper names of compiled modules left out."""
    return {
        name.replace("_orig_mod.", "").removesuffix("_orig_mod"): module
        for name, module in model.named_modules()
        if isinstance(module, MoELayer)
    }


def _free_name(name: str, taken: dict[str, Tensor]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f"{name}#{number}"
        number += 1
    return free
