"""What every controller is."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from torch import nn

from mixtura.core.router import Router

__all__ = ["Controller"]


Part = TypeVar("Part", bound=nn.Module)
Statistics = TypeVar("Statistics")


class Controller(nn.Module, Generic[Statistics]):
    """Changes a router's state between optimiser steps, from what its experts got to do.

    A `Controller[LayerStatistics]` is called once per optimiser step with the statistics of
    everything since the last one:

        with record_routing(model) as record:
            ...  # all micro-batches of the step
        optimizer.step()
        controller.step(routers(model), record.statistics(across_ranks=True))

    A controller of another kind says what it looks at by its own type: for a gate that is fitted in
    closed form this is the loss of every unit with every expert.

    What a controller moves lies in buffers of the routers, or in parameters that no gradient
    reaches, and is saved with the model; its own memory lies in its own buffers. Frozen routers are
    left alone.
    """

    def step(self, routers: Mapping[str, Router], statistics: Mapping[str, Statistics]) -> object:
        """One update; what it returns is for who wants to tell of it.

        Args:
            routers: by the name of their layer, as `routers(model)` gives them.
            statistics: by the same names; layers that were not called are missing.
        """
        raise NotImplementedError

    @staticmethod
    def steered(
        kind: type[Part],
        routers: Mapping[str, Router],
        statistics: Mapping[str, object],
    ) -> dict[str, Part]:
        """The part of this kind in each router that was called and is not frozen."""
        found: dict[str, Part] = {}
        for name, router in routers.items():
            parts = [module for module in router.modules() if isinstance(module, kind)]
            if parts and name in statistics and not router.frozen:
                found[name] = parts[0]
        return found
