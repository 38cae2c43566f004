"""What an edit may say about the choice itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["Choice"]


@dataclass(frozen=True)
class Choice:
    """Changes to how a selection that ranks experts chooses among them.

    Attributes:
        k: experts per unit instead of the selection's own number; one for all units or one each.
        ranks: positions in each unit's ranking to take instead of the best ones; 0 is the best.
        members: experts that are chosen before all others.
    """

    k: int | Int[Tensor, "units"] | None = None
    ranks: Sequence[int] | None = None
    members: Bool[Tensor, "units routed"] | None = None

    @property
    def asks_for(self) -> frozenset[str]:
        """The names of what is changed."""
        return frozenset(n for n in ("k", "ranks", "members") if getattr(self, n) is not None)
