"""Chain of experts: the same pool works several times in one layer."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.layer import MoELayer
from mixtura.core.losses.base import Loss
from mixtura.core.router import Router
from mixtura.core.shared import SharedExpert
from mixtura.core.units import Units

__all__ = ["Chain"]


@configurable
class Chain(nn.Module):
    """`x_(t+1) = x_t + MoE_t(x_t)`: each step has its own router, all steps share the experts.

    At equal compute, C steps choose k / C experts each. Each step is an `MoELayer` of its own for
    records, losses and edits; a loss is thus counted once per step. Without an outer residual the
    result continues from the (usually normalised) input x_0; `delta` gives x_C - x_0, to be added
    to whatever x_0 was the norm of.

    Wang et al., Chain-of-Experts, 2025 (arXiv 2506.18945).

    Args:
        routers: one for each step, or a single one for `steps` steps.
        experts: the pool.
        steps: number of steps; as many as routers when not given.
        shared: work for every unit, done again in every step.
        inner_residual: whether each step's input is added to its output.
        outer: what becomes of the chain's input: nothing, added once more, or taken out.
        learned_share: whether all steps but the last are multiplied by a learned number that is
            zero at the start; see `from_layer`.
        losses: of each step.
        dispatch: as in `MoELayer`.
        units: as in `MoELayer`.
    """

    share: nn.Parameter | None

    def __init__(
        self,
        routers: Sequence[Router],
        experts: Experts,
        *,
        steps: int | None = None,
        shared: SharedExpert | None = None,
        inner_residual: bool = True,
        outer: Literal["none", "input", "delta"] = "none",
        learned_share: bool = False,
        losses: Sequence[Loss] = (),
        dispatch: str = "auto",
        units: Units | None = None,
    ) -> None:
        super().__init__()
        steps = len(routers) if steps is None else steps
        if steps < 1 or len(routers) not in (1, steps):
            raise InputError(
                f"a chain of {steps} steps needs one router or {steps} routers, got {len(routers)}"
            )
        if outer not in ("none", "input", "delta"):
            raise InputError(f"the outer residual is none, input or delta, got {outer!r}")
        if learned_share and not inner_residual:
            raise InputError(
                "learned shares start at zero, which needs the inner residual to pass the input on"
            )
        each = list(routers) * (steps // len(routers))
        self.steps = nn.ModuleList(
            MoELayer(router, experts, shared=shared, losses=losses, dispatch=dispatch, units=units)
            for router in each
        )
        self.inner_residual = inner_residual
        self.outer = outer
        self.register_parameter(
            "share", nn.Parameter(torch.zeros(steps - 1)) if learned_share else None
        )

    @classmethod
    def from_layer(cls, layer: MoELayer, steps: int) -> "Chain":
        """A chain that computes at first what a trained layer computes.

        The router is copied for each step, experts and dispatch are the layer's own, and the shares
        of all steps but the last begin at zero.
        """
        chain = cls(
            [deepcopy(layer.router) for _ in range(steps)],
            layer.experts,
            shared=layer.shared,
            outer="delta",
            learned_share=True,
            losses=layer.losses,
            units=layer.units,
        )
        for step in chain.steps:
            assert isinstance(step, MoELayer)
            step.dispatch = layer.dispatch
        return chain

    def forward(
        self,
        x: Float[Tensor, "*batch dim"],
        *,
        mask: Bool[Tensor, "*batch"] | None = None,
        **context: Any,
    ) -> Float[Tensor, "*batch dim"]:
        """The state after the last step."""
        state = x
        for number, step in enumerate(self.steps):
            y = step(state, mask=mask, **context)
            if self.share is not None and number < len(self.share):
                y = self.share[number] * y
            state = state + y if self.inner_residual else y
        if self.outer == "input":
            return state + x
        return state - x if self.outer == "delta" else state
