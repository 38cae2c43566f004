"""Training DynaMix with Lightning."""

import torch
from torch import Tensor

from mixtura.core import InputError, configurable
from mixtura.dynamics.dynamix import DynaMix
from mixtura.dynamics.excerpts import Excerpt
from mixtura.dynamics.long_term import attractor_scores
from mixtura.training import MoEModule
from mixtura.training.optimisation import ExponentialByEpoch, Optimizer, Schedule, TorchOptimizer

__all__ = ["DynaMixModule"]


@configurable
class DynaMixModule(MoEModule):
    """DynaMix under interleaved teacher forcing; validation runs free from the context's end.

    Hemmer and Durstewitz, True Zero-Shot Inference of Dynamical Systems Preserving Long-Term
    Statistics, 2025, arXiv 2505.13192.

    Args:
        network: The model.
        optimizer: RAdam with a step size of 4e-3 when not given.
        schedule: Exponential decay by epochs when not given.
        alpha: Strength of the forcing.
        interleave: The state is forced before every so many steps.
        noise_penalty: Weight of the term that keeps the gate's noise up.
    """

    def __init__(
        self,
        network: DynaMix,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        alpha: float = 1.0,
        interleave: int = 10,
        noise_penalty: float = 0.1,
    ) -> None:
        if not 0 <= alpha <= 1 or interleave < 1:
            raise InputError(
                "alpha is a share between 0 and 1 and interleave at least 1, got "
                f"{alpha} and {interleave}"
            )
        super().__init__(
            network,
            TorchOptimizer("torch.optim.RAdam", lr=4e-3) if optimizer is None else optimizer,
            ExponentialByEpoch(gamma=0.997) if schedule is None else schedule,
        )
        self.alpha, self.interleave, self.noise_penalty = alpha, interleave, noise_penalty

    def task_loss(self, batch: Excerpt) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the forced run."""
        loss = self.network.loss(
            batch.context,
            batch.x,
            alpha=self.alpha,
            interleave=self.interleave,
            noise_penalty=self.noise_penalty,
        )
        return loss, {}

    @torch.no_grad()
    def evaluate(self, batch: Excerpt) -> dict[str, Tensor]:
        """Means over the systems of the scores of attractors, from a free run."""
        forecast = self.network.forecast(batch.context, len(batch.x) - 1)
        free = torch.cat([batch.x[:1], forecast])
        listed = [
            attractor_scores(free[:, unit], batch.x[:, unit], batch.dt)
            for unit in range(batch.x.shape[1])
        ]
        scores = {
            name: torch.tensor(sum(one[name] for one in listed) / len(listed)) for name in listed[0]
        }
        error = (free - batch.x)[: 10 * self.interleave].square().mean()
        return {"loss": error, "mse": error, **scores}

    def predict_step(self, batch: Excerpt, batch_idx: int) -> Tensor:
        """What follows each context."""
        return self.network.forecast(batch.context, len(batch.x))

    def batch_size(self, batch: Excerpt) -> int:
        """Systems."""
        return batch.x.shape[1]
