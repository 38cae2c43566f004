"""Other rules for the choice: another k, other ranks, members that must be chosen."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from mixtura.core.choice import Choice
from mixtura.core.edits.base import Edit
from mixtura.core.edits.forbid import expert_mask
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored

__all__ = ["ChooseK", "ChooseRanks", "ForceMembers", "Replay"]


class ChooseK(Edit):
    """Another number of experts per unit.

    Args:
        k: one number, or one for each unit.
    """

    stage = "choice"

    def __init__(self, k: int | Tensor) -> None:
        smallest = int(k.min()) if isinstance(k, Tensor) and k.numel() else k
        if isinstance(smallest, int) and smallest < 1:
            raise InputError(f"k must be at least 1, got {smallest}; a unit needs an expert")
        self.k = k

    def on_scored(self, scored: Scored) -> Scored:
        """The scores with the wish for another k."""
        if isinstance(self.k, Tensor) and self.k.shape != scored.scores.shape[:1]:
            raise InputError(
                f"k must be one number or one for each of the {scored.scores.shape[0]} units, got "
                f"shape {tuple(self.k.shape)}"
            )
        return replace(scored, choice=replace(scored.choice or Choice(), k=self.k))


class ChooseRanks(Edit):
    """The experts at these positions of each unit's ranking, 0 being the best.

    SCMoE (arXiv 2405.14507) contrasts a model with itself under the expert of rank 2.

    Args:
        ranks: the positions.
    """

    stage = "choice"

    def __init__(self, ranks: Sequence[int]) -> None:
        if not ranks or min(ranks) < 0 or len(set(ranks)) < len(ranks):
            raise InputError(f"ranks must be distinct positions from 0 on, got {list(ranks)}")
        self.ranks = tuple(ranks)

    def on_scored(self, scored: Scored) -> Scored:
        """The scores with the wish for other ranks."""
        return replace(scored, choice=replace(scored.choice or Choice(), ranks=self.ranks))


class ForceMembers(Edit):
    """Experts that are always among the chosen ones; the rest of the k is chosen as usual.

    Args:
        experts: numbers, or a mask per expert or per unit and expert.
    """

    stage = "choice"

    def __init__(self, experts: Sequence[int] | Tensor) -> None:
        self.experts = experts

    def on_scored(self, scored: Scored) -> Scored:
        """The scores with more members."""
        members = expert_mask(self.experts, scored)
        choice = scored.choice or Choice()
        if choice.members is not None:
            members = members | choice.members
        if scored.allowed is not None:
            members = members & scored.allowed
        return replace(scored, choice=replace(choice, members=members))


class Replay(Edit):
    """The experts of a recorded decision are chosen again; the weights come from today's scores.

    Args:
        recorded: the decision, of as many units.
    """

    stage = "choice"

    def __init__(self, recorded: Routing) -> None:
        self.recorded = recorded

    def on_scored(self, scored: Scored) -> Scored:
        """The scores with the recorded choice."""
        units, routed = scored.scores.shape
        if self.recorded.num_units != units or self.recorded.num_experts < routed:
            raise InputError(
                f"the recorded decision is about {self.recorded.num_units} units and "
                f"{self.recorded.num_experts} experts, this one about {units} and {routed}"
            )
        members = self.recorded.chosen[:, :routed]
        per_unit = members.sum(-1)
        most = int(per_unit.max()) if units else 1
        allowed = members if scored.allowed is None else members & scored.allowed
        return replace(scored, allowed=allowed, choice=Choice(k=max(most, 1)))
