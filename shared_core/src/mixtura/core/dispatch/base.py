"""What every dispatch is, and how it is found by name."""

from difflib import get_close_matches

from jaxtyping import Float
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["Dispatch", "dispatch_by_name", "dispatches", "register_dispatch"]

_DISPATCHES: dict[str, type["Dispatch"]] = {}


class Dispatch:
    """Carries out a routing: `(experts, x, routing) -> y`. It has no parameters and no state.

    Attributes:
        any_rows: whether it also carries rows that are no units as they are (slots, weighted
            inputs), which a layer otherwise gathers and combines itself.
        whole: whether every process has all experts, so that a layer can ask them itself.
    """

    any_rows: bool = False
    whole: bool = True

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Sum over each unit's assignments of weight times expert output."""
        raise NotImplementedError


def register_dispatch(name: str):
    """Class decorator: make a dispatch available under `name`."""

    def register(cls: type[Dispatch]) -> type[Dispatch]:
        _DISPATCHES[name] = cls
        return cls

    return register


def dispatches() -> dict[str, type[Dispatch]]:
    """Every dispatch by the name under which a layer takes it."""
    return dict(_DISPATCHES)


def dispatch_by_name(name: str) -> Dispatch:
    """The dispatch called `name`.

    Raises:
        InputError: when there is none; the nearest names are offered.
    """
    if name not in _DISPATCHES:
        near = get_close_matches(name, _DISPATCHES, n=3) or sorted(_DISPATCHES)
        raise InputError(f"unknown dispatch {name!r}; did you mean {', '.join(near)}?")
    return _DISPATCHES[name]()
