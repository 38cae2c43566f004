"""Adaptation to environments that were not seen in training, from a few trajectories."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core import InputError, configurable
from mixtura.dynamics.contexts import initial_contexts
from mixtura.dynamics.mixer import one_expert_each
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training.adabelief import AdaBelief
from mixtura.dynamics.training.objective import environment_losses
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["Adaptation", "Adapted"]

Strategy = Literal["gate", "best_expert", "nearest", "mean"]


@dataclass(frozen=True)
class Adapted:
    """New environments that a system has adapted to.

    Attributes:
        contexts: of the new environments.
        experts: their experts.
        support_losses: squared error on the trajectories adapted to, in the network's units.
    """

    contexts: Float[Tensor, "environments context"]
    experts: Int[Tensor, "environments"]
    support_losses: Float[Tensor, "environments"]


@configurable
class Adaptation(nn.Module):
    """Gradient descent on fresh contexts; weights and gate stay as they are.

    Strategies:

    - gate: contexts start at zero and the gate decides in every step. It gets no gradient, so an
      environment changes its expert only by chance.
    - best_expert: one context per environment and expert, all adapted in parallel; the pair that
      fits the support best is kept. Experts that no known environment has are not tried.
    - nearest: start from the known context (and its expert) with the least loss.
    - mean: start from the mean of the known contexts; the gate decides.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335 (gate); Kassaï Koupaï et al., GEPS, 2024 (mean).

    Args:
        strategy: one of the four.
        steps: gradient steps.
        lr: step size.
        optimiser: adam, or adabelief as published.
        context_penalty: on the mean absolute context of an environment.
        keep: the best contexts on the way, or the last as published.
    """

    def __init__(
        self,
        strategy: Strategy = "best_expert",
        steps: int = 300,
        lr: float = 1e-2,
        optimiser: Literal["adam", "adabelief"] = "adam",
        context_penalty: float = 0.0,
        keep: Literal["best", "last"] = "best",
    ) -> None:
        super().__init__()
        if strategy not in ("gate", "best_expert", "nearest", "mean"):
            raise InputError(f"a strategy is gate, best_expert, nearest or mean, got {strategy!r}")
        if steps < 0 or lr <= 0:
            raise InputError(
                f"steps must not be negative and lr must be positive, got {steps} and {lr}"
            )
        self.strategy: Strategy = strategy
        self.steps, self.lr, self.optimiser = steps, lr, optimiser
        self.context_penalty = context_penalty
        self.keep: Literal["best", "last"] = keep

    def forward(self, system: Reconstruction, support: Trajectories) -> Adapted:
        """Adapt to all environments of `support` at once (in the units of the data)."""
        if support.x.shape[-1] != system.mixer.experts.dim:
            raise InputError(
                f"the system has {system.mixer.experts.dim} state dimensions, the new "
                f"environments have {support.x.shape[-1]}; give the same variables, in their order"
            )
        if self.strategy == "best_expert" and system.mixer.trained_by_gradient:
            raise InputError(
                "best_expert gives an environment one expert of weight one, but gradients train "
                "this gate and its probability is part of the output; choose mean, nearest or gate"
            )
        data = system.scaled(support)
        parameters = [p for p in system.parameters() if p.requires_grad]
        for parameter in parameters:
            parameter.requires_grad_(False)
        try:
            return self.adapt(system, data)
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    def adapt(self, system: Reconstruction, data: Trajectories) -> Adapted:
        """The same for data in the network's units."""
        contexts, experts = self.start(system, data)
        copies = len(contexts) // len(data)
        repeated = data.repeat(copies)
        contexts, losses = self.descend(system, repeated, contexts, experts)
        if experts is None:
            routing = system.mixer.route(contexts)
            return Adapted(contexts, routing.dense_weight.argmax(1), losses)
        table = losses.view(len(data), copies)
        best = table.argmin(1) + torch.arange(len(data), device=losses.device) * copies
        return Adapted(contexts[best], experts[best], losses[best])

    def start(self, system: Reconstruction, data: Trajectories) -> tuple[Tensor, Tensor | None]:
        """First contexts, and the expert of each where the gate does not decide."""
        known = system.contexts.detach()
        count, width = len(data), known.shape[1]
        if self.strategy == "gate":
            return initial_contexts(count, width).to(known), None
        if self.strategy == "mean":
            return initial_contexts(count, width, "mean", known=known), None
        family = system.family()
        if self.strategy == "nearest":
            repeated = data.repeat(len(known))
            soft = system.mixer.trained_by_gradient
            contexts, experts = known.repeat(count, 1), None if soft else family.repeat(count)
            with torch.no_grad():
                losses = self.losses(system, repeated, contexts, experts).view(count, -1)
            best = losses.nan_to_num(nan=torch.inf).argmin(1)
            return known[best].clone(), None if soft else family[best]
        experts = family.unique()
        means = torch.stack([known[family == expert].mean(0) for expert in experts])
        return means.repeat(count, 1), experts.repeat(count)

    def losses(
        self, system: Reconstruction, data: Trajectories, contexts: Tensor, experts: Tensor | None
    ) -> Float[Tensor, "units"]:
        """Squared error of each unit."""
        routing = None
        if experts is not None:
            routing = one_expert_each(experts, system.mixer.num_experts)
        solution = system.mixer(contexts, data.x0, data.t, solver=system.solver, routing=routing)
        return environment_losses(solution, data)

    def descend(
        self, system: Reconstruction, data: Trajectories, contexts: Tensor, experts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The contexts to keep, and their losses; each environment on its own."""
        moved = contexts.clone().requires_grad_()
        kind = AdaBelief if self.optimiser == "adabelief" else torch.optim.Adam
        optimiser = kind([moved], lr=self.lr)
        best = contexts.clone()
        best_losses = torch.full((len(contexts),), torch.inf, device=contexts.device)
        for step in range(self.steps + 1):
            losses = self.losses(system, data, moved, experts)
            with torch.no_grad():
                better = losses < best_losses
                if self.keep == "last":
                    better = torch.ones_like(better)
                best = torch.where(better[:, None], moved, best)
                best_losses = torch.where(better, losses, best_losses)
            if step == self.steps:
                break
            penalty = self.context_penalty * moved.abs().mean(1)
            (gradient,) = torch.autograd.grad((losses + penalty).sum(), [moved])
            moved.grad = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            optimiser.step()
        return best.detach(), best_losses
