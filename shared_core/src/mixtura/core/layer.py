"""The layer: router, experts, shared expert and dispatch, put together."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.dispatch import Dispatch, dispatch_by_name
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.losses.base import Loss
from mixtura.core.pairs import check_losses
from mixtura.core.probing import probe
from mixtura.core.replay import replayed
from mixtura.core.router import Router
from mixtura.core.routing import Routing
from mixtura.core.shared import SharedExpert
from mixtura.core.sink import Call, Sink
from mixtura.core.units import TokenUnits, Units

__all__ = ["MoELayer"]


@configurable
class MoELayer(nn.Module):
    """A Mixture-of-Experts layer: `forward(x)` is `compute(x, route(x))`.

    A routing is a value: it can be computed once and used for many inputs, edited and compared.
    Losses are configured here and computed by `record_routing`.

    Args:
        router: who decides.
        experts: who works.
        shared: work done for every unit besides.
        losses: pressure on the decision; see `record_routing`.
        dispatch: how the work is carried: auto, sorted_loop, naive, ...
        units: what one decision is about; every row when not given.
    """

    def __init__(
        self,
        router: Router,
        experts: Experts,
        *,
        shared: SharedExpert | None = None,
        losses: Sequence[Loss] = (),
        dispatch: str = "auto",
        units: Units | None = None,
    ) -> None:
        super().__init__()
        if router.num_experts != experts.num_experts:
            raise InputError(
                f"the router reaches {router.num_experts} experts, but there are "
                f"{experts.num_experts}; make the two numbers equal"
            )
        check_losses(losses, router.score_function, router.activation)
        self.router = router
        self.experts = experts
        self.shared = shared
        self.losses = tuple(losses)
        self.dispatch: Dispatch = dispatch_by_name(dispatch)
        self.units = TokenUnits() if units is None else units
        self._keeps_outputs = any("outputs" in loss.needs for loss in self.losses)
        probes = [loss for loss in self.losses if loss.probe]
        self._probe = max(probes, key=lambda loss: loss.probe, default=None)
        self._width = experts.dim
        self._sink: Sink | None = None
        self._observer: tuple[str, Any] | None = None
        self._warned = False

    @property
    def num_experts(self) -> int:
        """E, reserved experts included."""
        return self.experts.num_experts

    def route(
        self,
        x: Float[Tensor, "*batch dim"],
        *,
        route_on: Float[Tensor, "units routed_dim"] | None = None,
        forced: Int[Tensor, "units"] | None = None,
        mask: Bool[Tensor, "*batch"] | None = None,
        **context: Any,
    ) -> Routing:
        """The decision for every unit of `x`.

        Args:
            x: the layer's input.
            route_on: what the router looks at instead of `x`, one row per unit.
            forced: expert that a unit must go to, -1 to route freely.
            mask: rows that are real; a unit without one gets no expert.
            **context: what the score function asks for besides: `task`, `state`, `ids`.
        """
        return self._route(self.units.group(x), x.shape, route_on, forced, mask, context)

    def compute(
        self, x: Float[Tensor, "*batch dim"], routing: Routing
    ) -> Float[Tensor, "*places out"]:
        """Carry out a routing on an input; the routing may come from anywhere."""
        return self._compute(self.units.group(x), x, routing)

    def forward(
        self,
        x: Float[Tensor, "*batch dim"],
        *,
        route_on: Float[Tensor, "units routed_dim"] | None = None,
        forced: Int[Tensor, "units"] | None = None,
        mask: Bool[Tensor, "*batch"] | None = None,
        **context: Any,
    ) -> Float[Tensor, "*places out"]:
        """Route and compute."""
        units = self.units.group(x)
        routing = self._route(units, x.shape, route_on, forced, mask, context)
        return self._compute(units, x, routing)

    def _route(
        self,
        units: Tensor,
        shape: torch.Size,
        route_on: Tensor | None,
        forced: Tensor | None,
        mask: Tensor | None,
        context: dict[str, Any],
    ) -> Routing:
        looked_at = self.units.pool(units) if route_on is None else route_on
        unit_mask = None if mask is None else self.units.group_mask(mask, shape)
        routing = self.router(
            looked_at,
            forced=forced,
            mask=unit_mask,
            num_samples=self.units.num_samples(shape),
            **context,
        )
        if any("rows" in loss.needs for loss in self.losses):
            routing.rows = looked_at
        self._remember(routing)
        return routing

    def _compute(self, units: Tensor, x: Tensor, routing: Routing) -> Tensor:
        if routing.num_units != units.shape[0]:
            raise InputError(
                f"the routing is for {routing.num_units} units, but the input has "
                f"{units.shape[0]}; route an input of this size"
            )
        if units.shape[-1] != self._width and self._width is not None:
            raise InputError(
                f"the experts take rows of width {self._width}, got {units.shape[-1]}; make the "
                "experts' dim and the width of the input equal"
            )
        if self._observer is not None:
            name, observation = self._observer
            y = observation.watch(name, self, units, routing)
        elif (routing.plain or self.dispatch.any_rows) and not (
            self.training and self._keeps_outputs
        ):
            y = self.dispatch(self.experts, units, routing)
        else:
            rows = self.experts(routing.gather(units), routing)
            y = routing.combine(rows)
            if self._keeps_outputs and self._sink is not None:
                routing.outputs = rows
        if self._probe is not None and self._sink is not None and self.training:
            loss = self._probe
            routing.probing = probe(self.experts, units, routing, loss.probe, loss.probe_share)
        if self.shared is None:
            return self.units.ungroup(y, x.shape)
        shared = self.shared(x if self.shared.view == "input" else units)
        if self._observer is not None:
            self._observer[1].watch_shared(shared)
        if self.shared.view == "input":
            return self.units.ungroup(y, x.shape) + shared
        return self.units.ungroup(y + shared, x.shape)

    def _remember(self, routing: Routing) -> None:
        if self._sink is None:
            if self.training and self.losses and not self._warned:
                self._warn_unrecorded()
            return
        if self.training and not torch.is_grad_enabled():
            raise RuntimeError(
                "a routing is recorded in training mode without gradients, so its losses could not "
                "train anything; call eval() first, or use checkpoint(..., use_reentrant=False) "
                "where activations are checkpointed"
            )
        routing.replayed = replayed(routing.expert)
        if routing.replayed is not True:
            self._sink.last = Call(routing, self._sink.last)

    def _warn_unrecorded(self) -> None:
        if torch.compiler.is_compiling() or replayed(torch.empty(0)) is True:
            return
        self._warned = True
        warnings.warn(
            f"{len(self.losses)} auxiliary losses are configured on an MoE layer that runs in "
            "training mode with no record open, so they do nothing; wrap the forward pass in "
            "`with record_routing(model) as record:` and add `record.losses()` to the loss",
            stacklevel=4,
        )
