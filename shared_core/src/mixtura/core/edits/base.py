"""What every edit is, and how it is put on and taken off."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored

if TYPE_CHECKING:
    from mixtura.core.router import Router

__all__ = ["STAGES", "Edit", "apply_edits", "edit_routing", "per_unit", "routers"]

Stage = Literal["offset", "forbid", "override", "choice", "multiply"]
STAGES: tuple[Stage, ...] = ("offset", "forbid", "override", "choice", "multiply")


class Edit:
    """A reversible change at one point of the decision.

    The order of the points is fixed, however the edits were put on: logit offset, forbidden
    experts, (the activation), score override, choice, (the normalisation of the weights), weight
    multiplier. Edits of one point act in the order in which they were put on.

    Attributes:
        stage: the point at which it acts.
    """

    stage: Stage

    def on_scored(self, scored: Scored) -> Scored:
        """The changed scores (every stage but `multiply`)."""
        raise NotImplementedError

    def on_routing(self, routing: Routing) -> Routing:
        """The changed decision (stage `multiply`)."""
        raise NotImplementedError


def apply_edits(edits: Sequence[Edit], stage: Stage, scored: Scored) -> Scored:
    """What the edits of one stage make of the scores."""
    for edit in edits:
        if edit.stage == stage:
            scored = edit.on_scored(scored)
    return scored


def per_unit(
    value: Tensor, like: Float[Tensor, "units routed"], what: str
) -> Float[Tensor, "units routed"] | Tensor:
    """Check that `value` is per expert (E) or per unit and expert (U, E); on the right device."""
    if value.shape not in (like.shape, like.shape[-1:]):
        raise InputError(
            f"{what} must be of shape {tuple(like.shape[-1:])} (one per expert) or "
            f"{tuple(like.shape)} (one per unit and expert), got {tuple(value.shape)}"
        )
    return value.to(like.device)


def routers(model: nn.Module) -> "dict[str, Router]":
    """The routers inside a model: by the name of their layer, or `layer/router` of several."""
    from mixtura.core.router import Router

    found: dict[str, Router] = {}
    for name, module in model.named_modules():
        if isinstance(module, Router):
            name = name.replace("_orig_mod.", "").removesuffix("_orig_mod")
            layer, _, last = name.rpartition(".")
            if last.isdigit():
                layer, _, plural = layer.rpartition(".")
                found[f"{layer}/{plural}.{last}"] = module
            else:
                found[layer if last == "router" else name] = module
    return found


@contextmanager
def edit_routing(
    model: nn.Module, *edits: Edit, layers: Sequence[str] | None = None
) -> Iterator[None]:
    """Put edits on the routers of a model; leaving the context takes them off again.

    Args:
        model: the model, a layer or a router.
        *edits: what to change.
        layers: names of the layers concerned, as `routers(model)` gives them; all when not given.

    Raises:
        InputError: when a layer does not exist or the model has no router.
    """
    found = routers(model)
    if not found:
        raise InputError(f"{type(model).__name__} has no router, so there is nothing to edit")
    names = list(found) if layers is None else list(layers)
    for name in names:
        if name not in found:
            near = get_close_matches(name, found, n=3) or sorted(found)[:3]
            raise InputError(f"no layer {name!r} to edit; did you mean {', '.join(near)}?")
    chosen = {id(found[name]): found[name] for name in names}.values()
    for router in chosen:
        router.edits.extend(edits)
    try:
        yield
    finally:
        for router in chosen:
            for edit in edits:
                position = next(i for i, e in enumerate(router.edits) if e is edit)
                del router.edits[position]
