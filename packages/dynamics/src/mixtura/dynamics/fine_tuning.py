"""Low-rank fine-tuning of experts to environments that contexts alone do not reach."""

import copy

import torch
from torch import nn
from torch.optim import Adam

from mixtura.core import InputError, configurable
from mixtura.dynamics.adaptation import Adapted
from mixtura.dynamics.experts import GEPS, CoDA
from mixtura.dynamics.mixer import one_expert_each
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training.objective import environment_losses
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["LowRankTuning"]


@configurable
class LowRankTuning(nn.Module):
    """Gradient descent on the contexts and on what contexts act through; root weights stay.

    That is A and B of GEPS, or the hypernetwork of CoDA. The trained system is not changed: a copy
    of it is, and the known environments are no longer reconstructed as before by the copy.

    Kassaï Koupaï et al., GEPS, 2024, arXiv 2410.23889.

    Args:
        steps: gradient steps.
        lr: step size of Adam.
    """

    def __init__(self, steps: int = 100, lr: float = 1e-3) -> None:
        super().__init__()
        if steps < 1:
            raise InputError(f"fine-tuning takes at least one step, got {steps}")
        self.steps, self.lr = steps, lr

    def forward(
        self, system: Reconstruction, support: Trajectories, adapted: Adapted
    ) -> tuple[Reconstruction, Adapted]:
        """A tuned copy of the system, and the environments as it knows them.

        Args:
            system: the trained system.
            support: what was adapted to, in the units of the data.
            adapted: contexts and experts to start from.
        """
        experts = system.mixer.experts
        if not isinstance(experts, GEPS | CoDA):
            raise InputError(
                f"{type(experts).__name__} has no low-rank factors; fine-tune GEPS or CoDA experts"
            )
        tuned = copy.deepcopy(system)
        copied = tuned.mixer.experts
        assert isinstance(copied, GEPS | CoDA)
        tuned.requires_grad_(False)
        factors = copied.low_rank_parameters()
        contexts = adapted.contexts.clone().requires_grad_()
        for factor in factors:
            factor.requires_grad_(True)
        optimiser, data = Adam([contexts, *factors], lr=self.lr), tuned.scaled(support)
        routing = one_expert_each(adapted.experts, tuned.mixer.num_experts)
        best, kept = float("inf"), []
        for step in range(self.steps + 1):
            solution = tuned.mixer(contexts, data.x0, data.t, solver=tuned.solver, routing=routing)
            losses = environment_losses(solution, data)
            mean = losses.mean().item()
            if mean < best:
                best = mean
                kept = [v.detach().clone() for v in (losses, contexts, *factors)]
            if step == self.steps or not bool(losses.isfinite().all()):
                break
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()
        if not kept:
            raise InputError(
                "the system cannot follow the given trajectories from their first states; adapt to "
                "shorter ones"
            )
        with torch.no_grad():
            for factor, value in zip(factors, kept[2:], strict=True):
                factor.copy_(value)
        tuned.requires_grad_(True)
        return tuned, Adapted(kept[1], adapted.experts, kept[0])
