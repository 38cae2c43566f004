"""What one outer step of a recipe did."""

from dataclasses import dataclass, field

import torch

__all__ = ["StepReport"]


@dataclass
class StepReport:
    """What one outer step did.

    Attributes:
        inner_losses: the loss before each gradient step.
        gate_updates: messages of the gate's updates.
        gate_updated: how many of them changed the gate.
        failures: sentences about trajectories that exploded and steps that were left out.
    """

    inner_losses: list[float] = field(default_factory=list)
    gate_updates: list[str] = field(default_factory=list)
    gate_updated: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Median of the inner losses."""
        return float(torch.tensor(self.inner_losses).median())
