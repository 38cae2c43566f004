"""Proximal alternating minimisation, MixER's published training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from mixtura.core import configurable
from mixtura.dynamics.mixer import MixER
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training.adabelief import AdaBelief
from mixtura.dynamics.training.contributors import Contribution, choose_contributors
from mixtura.dynamics.training.objective import Objective, ObjectiveValue
from mixtura.dynamics.training.recipe import Recipe, descend
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["PAM", "proximal_term"]


@configurable
class PAM(Recipe):
    """Alternate between contexts and weights, each held near its value before the outer step.

    `loss + beta / 2 * mean square of the change`, twelve AdaBelief steps on the contexts, then
    twelve on the weights, with closed-form updates of the gate in between.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335; Attouch et al., Proximal alternating minimization
    and projection methods for nonconvex problems, 2010.

    Args:
        objective: the loss; mean squared error over all environments when not given.
        outer_steps: how many outer steps a run has (the schedule needs it).
        context_steps: gradient steps on the contexts per outer step.
        model_steps: gradient steps on the weights per outer step.
        gate_every: the gate is updated after the inner steps whose number it divides.
        beta: weight of the proximal terms.
        lr: step size of both optimisers.
        decay: factor on the weights' step size at one and at two thirds of the run.
        context_beta: weight of the contexts' proximal term; `beta` when not given.
        context_lr: step size on the contexts; `lr` when not given.
        shared_moments: the experts take their steps one after another with a single set of
            AdaBelief's moments, whose steps the schedule counts.
        contributors: environments per gradient step; all when not given.
        contribution: how they are chosen.
        model_first: train the weights before the contexts (the order of Neural Context Flows).
        reference_compat: keep the gate among the parameters of the proximal term and the
            optimiser, as the reference implementation does (it is then dragged).
    """

    def __init__(
        self,
        objective: Objective | None = None,
        outer_steps: int = 100,
        context_steps: int = 12,
        model_steps: int = 12,
        gate_every: int = 6,
        beta: float = 10.0,
        lr: float = 1e-3,
        decay: float = 0.4,
        context_beta: float | None = None,
        context_lr: float | None = None,
        shared_moments: bool = False,
        contributors: int | None = None,
        contribution: Contribution = "NF",
        model_first: bool = False,
        reference_compat: bool = False,
    ) -> None:
        super().__init__()
        self.objective = Objective() if objective is None else objective
        self.outer_steps = outer_steps
        self.context_steps, self.model_steps = context_steps, model_steps
        self.gate_every, self.beta, self.lr, self.decay = gate_every, beta, lr, decay
        self.context_beta = beta if context_beta is None else context_beta
        self.context_lr = lr if context_lr is None else context_lr
        self.shared_moments = shared_moments
        self.contributors = contributors
        self.contribution: Contribution = contribution
        self.model_first, self.reference_compat = model_first, reference_compat

    @property
    def gradient_steps(self) -> int:
        """Of both inner loops."""
        return self.context_steps + self.model_steps

    def weights(self, mixer: MixER) -> list[nn.Parameter]:
        """The parameters that the weights' optimiser moves."""
        if self.reference_compat or mixer.trained_by_gradient:
            return list(mixer.parameters())
        gate = {id(p) for p in mixer.gate_parameters()}
        return [p for p in mixer.parameters() if id(p) not in gate]

    def parts(self, mixer: MixER) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """`weights`, those of the experts and others; shared moments leave a fitted gate alone."""
        experts = list(mixer.experts.parameters())
        if self.shared_moments and not mixer.trained_by_gradient:
            return experts, []
        known = {id(p) for p in experts}
        return experts, [p for p in self.weights(mixer) if id(p) not in known]

    def optimisers(self, system: Reconstruction) -> list[Optimizer]:
        """AdaBelief for the weights and AdaBelief for the contexts."""
        experts, rest = self.parts(system.mixer)
        groups: list[dict[str, Any]] = [{"params": experts, "shared": self.shared_moments}]
        groups += [{"params": rest}] if rest else []
        return [
            AdaBelief(groups, lr=self.lr),
            AdaBelief([system.contexts], lr=self.context_lr),
        ]

    def learning_rate(self, model_step: int) -> float:
        """Step size of the weights at their gradient step `model_step` of the whole run."""
        total = self.outer_steps * self.model_steps
        passed = sum(model_step >= total * part // 3 for part in (1, 2))
        return self.lr * self.decay**passed

    def rates(self, model_step: int, group: Mapping[str, Any], experts: int) -> float | list[float]:
        """Step size of a group of parameters; one for each expert where they share moments."""
        if not group["shared"]:
            return self.learning_rate(model_step)
        return [self.learning_rate(model_step * experts + expert) for expert in range(experts)]

    def step(
        self,
        number: int,
        system: Reconstruction,
        data: Trajectories,
        optimisers: Sequence[Optimizer],
        generator: torch.Generator,
    ) -> StepReport:
        """Both inner loops."""
        report = StepReport()
        self.objective.begin(number)
        before = [w.detach().clone() for w in self.weights(system.mixer)]
        contexts_before = system.contexts.detach().clone()
        last: Tensor | None = None
        order = ("weights", "contexts") if self.model_first else ("contexts", "weights")
        for phase in order:
            for inner in range(self.model_steps if phase == "weights" else self.context_steps):
                if phase == "weights":
                    moved, anchor, optimiser = self.weights(system.mixer), before, optimisers[0]
                    beta, taken = self.beta, number * self.model_steps + inner
                    for group in optimiser.param_groups:
                        group["lr"] = self.rates(taken, group, system.mixer.num_experts)
                else:
                    moved, anchor = [system.contexts], [contexts_before]
                    optimiser, beta = optimisers[1], self.context_beta
                chosen = choose_contributors(
                    system.contexts,
                    self.contributors or len(data),
                    self.contribution,
                    last_losses=last,
                    generator=generator,
                )

                def evaluate(kept: Tensor, moved=moved, anchor=anchor, beta=beta) -> ObjectiveValue:
                    value = self.objective(
                        system.mixer,
                        system.contexts[kept],
                        data.select(kept),
                        numbers=kept,
                        generator=generator,
                    )
                    term = proximal_term(moved, anchor, beta)
                    return replace(value, loss=value.loss + term)

                place = f"outer step {number}, {phase} step {inner}"
                value = descend(evaluate, chosen, moved, optimiser, report, place)
                known = system.contexts.new_full((len(data),), torch.inf)
                known = known if last is None else last.clone()
                known[chosen] = value.per_environment.detach()
                last = known
                if not system.mixer.trained_by_gradient and inner % self.gate_every == 0:
                    self.update_gate(system, data, generator, report)
        return report

    def update_gate(
        self,
        system: Reconstruction,
        data: Trajectories,
        generator: torch.Generator,
        report: StepReport,
    ) -> None:
        """One closed-form fit of the gate."""
        losses = self.objective.expert_losses(system.mixer, system.contexts, data)
        fit = system.update_gate(losses, generator)
        report.gate_updates.append(fit.message)
        report.gate_updated += fit.updated


def proximal_term(
    now: Sequence[Tensor], before: Sequence[Tensor], beta: float
) -> Float[Tensor, ""]:
    """`beta / 2` times the mean square of the change, over all scalars."""
    size = sum(p.numel() for p in now)
    change = torch.cat([(p - q).flatten() for p, q in zip(now, before, strict=True)])
    return 0.5 * beta * change.square().sum() / size
