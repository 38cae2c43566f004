"""Training in stages: what learns when."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError

__all__ = ["Stage", "StagedTraining"]


@configurable
@dataclass
class Stage:
    """One stage of `StagedTraining` (arXiv 2510.27004).

    Args:
        until_step: the stage ends after so many steps in all; never when not given.
        until_below: or when the metric falls below this.
        trainable: patterns of parameter names that learn; everything when empty.
        frozen: patterns of parameter names that do not, whatever `trainable` says.
        normalize_gradient: divide the gradient of all that learns by its norm.
        reset_optimizer: forget the optimiser's state when the stage begins.
    """

    until_step: int | None = None
    until_below: float | None = None
    trainable: Sequence[str] = ()
    frozen: Sequence[str] = ()
    normalize_gradient: bool = False
    reset_optimizer: bool = False


@configurable
class StagedTraining(nn.Module):
    """Runs through stages that train different parts of a model.

    The three stages of mixture-of-transformers theory (arXiv 2510.27004): the experts' feed-forward
    parts learn with attention frozen, then attention with the former frozen, then the former again;
    the gate learns throughout.

        staged.begin(model, optimizer)         # once, and after loading
        ...
        staged.before_step(model)              # after backward, before optimizer.step()
        staged.after_step(model, optimizer, metric=loss)

    Args:
        stages: in order; the last one lasts.
    """

    position: Tensor
    steps: Tensor

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        if not stages:
            raise InputError("staged training needs at least one stage, got none")
        for stage in stages[:-1]:
            if stage.until_step is None and stage.until_below is None:
                raise InputError("every stage but the last needs an end: until_step or until_below")
        self.stages = list(stages)
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def stage(self) -> Stage:
        """The stage that is on."""
        return self.stages[int(self.position)]

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Set what learns in the current stage; call it once before training and after loading."""
        stage = self.stage
        names = [name for name, _ in model.named_parameters()]
        for pattern in (*stage.trainable, *stage.frozen):
            if not any(re.search(pattern, name) for name in names):
                raise InputError(f"no parameter matches {pattern!r}; there is {names[0]!r}, ...")
        for name, parameter in model.named_parameters():
            learns = not stage.trainable or any(re.search(p, name) for p in stage.trainable)
            learns = learns and not any(re.search(p, name) for p in stage.frozen)
            parameter.requires_grad_(learns)
            if not learns:
                parameter.grad = None
        if stage.reset_optimizer and optimizer is not None:
            optimizer.state.clear()

    def before_step(self, model: nn.Module) -> None:
        """Normalise the gradient where the stage wants it."""
        if self.stage.normalize_gradient:
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            if grads:
                norm = torch.stack([g.norm() for g in grads]).norm().clamp_min(1e-12)
                for grad in grads:
                    grad.div_(norm)

    def after_step(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        metric: float | None = None,
    ) -> None:
        """Count the step and begin the next stage where this one ends."""
        self.steps += 1
        stage = self.stage
        if int(self.position) + 1 == len(self.stages):
            return
        over = stage.until_step is not None and int(self.steps) >= stage.until_step
        below = stage.until_below is not None and metric is not None and metric < stage.until_below
        if over or below:
            self.position += 1
            self.begin(model, optimizer)
