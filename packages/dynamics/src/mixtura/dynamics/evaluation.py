"""Scores of a trained system on a data set in the four-split convention."""

from typing import Any

import numpy as np
import torch

from mixtura.datasets.dynamics.environments import DynamicsData
from mixtura.dynamics.adaptation import Adaptation, Adapted
from mixtura.dynamics.long_term import long_term_scores
from mixtura.dynamics.metrics.errors import mape, mse, rel_l2, rel_sq_pointwise
from mixtura.dynamics.metrics.families import family_recovery, parameter_r2
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.solvers import Solution
from mixtura.dynamics.training.objective import environment_losses
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["evaluate", "trajectory_scores"]

SCORES = {"mse": mse, "rel_l2": rel_l2, "rel_sq_pointwise": rel_sq_pointwise, "mape": mape}


def trajectory_scores(solution: Solution, true: Trajectories) -> dict[str, float]:
    """Mean and standard deviation over environments of every error."""
    scores = {}
    for name, score in SCORES.items():
        values = score(solution.states, true.x, true.observed)
        scores[name] = float(values.mean())
        scores[f"{name}_sd"] = float(values.std(correction=0))
    scores["failed"] = float((~solution.ok).sum())
    return scores


@torch.no_grad()
def evaluate(
    system: Reconstruction, data: DynamicsData, adaptation: Adaptation | None = None
) -> dict[str, Any]:
    """In-domain and out-of-domain errors, and family recovery where labels are known.

    Out of domain the system adapts to `ood_train` and is scored on `ood_test`. Where test
    trajectories repeat training trajectories, errors without them stand under `leak_free`. Where
    the data hold a long run of each environment, the statistics of attractors are compared.

    Returns:
        Plain numbers by name, ready for JSON.
    """
    report: dict[str, Any] = {}
    if data.test is not None:
        test = Trajectories.of(data.test)
        solution = system(test.x0, test.t)
        report["in_domain"] = trajectory_scores(solution, test)
        report["in_domain_by_environment"] = environment_losses(solution, test).tolist()
        if data.leak_free is not None:
            kept, clean = data.leak_free, test.trajectories(data.leak_free)
            errors = mse(solution.states[:, kept], clean.x, clean.observed)
            report["in_domain_leak_free_mse"] = float(errors.mean())
        if system.mixer.experts.discrete:
            report["one_step_ahead_mse"] = one_step_ahead(system, test)
    if data.ood_train is not None and data.ood_test is not None:
        with torch.enable_grad():
            adapted = (adaptation or Adaptation())(system, Trajectories.of(data.ood_train))
        report |= out_of_domain(system, data, adapted)
    if data.long is not None:
        report["long_term"] = long_term_scores(system, data.long)
    family = data.train.family
    several = family is not None and len(np.unique(family)) > 1
    if several and system.mixer.num_experts > 1:
        labels = torch.as_tensor(family)
        report["families"] = family_recovery(
            system.family(), labels, system.mixer.num_experts, system.contexts.detach()
        )
        report["experts"] = system.family().tolist()
    if family is not None and data.train.parameters is not None:
        parameters = torch.as_tensor(data.train.parameters, dtype=torch.float32)
        scores = parameter_r2(system.contexts.detach(), parameters, torch.as_tensor(family))
        report["parameter_r2"] = {str(label): value for label, value in scores.items()}
    return report


def one_step_ahead(system: Reconstruction, test: Trajectories) -> float:
    """Mean squared error of a map applied to each observation, against the next one."""
    step = system.mixer.field(system.contexts, routing=system.route())
    states = step(system.scaled(test).x[:, :, :-1]) * system.scale + system.center
    observed = None if test.observed is None else test.observed[:, :, 1:]
    return float(mse(states, test.x[:, :, 1:], observed).mean())


def out_of_domain(system: Reconstruction, data: DynamicsData, adapted: Adapted) -> dict[str, Any]:
    """Errors on new environments after adaptation."""
    assert data.ood_test is not None
    test = Trajectories.of(data.ood_test)
    solution = system(test.x0, test.t, contexts=adapted.contexts, experts=adapted.experts)
    report: dict[str, Any] = {
        "out_of_domain": trajectory_scores(solution, test),
        "out_of_domain_by_environment": environment_losses(solution, test).tolist(),
        "out_of_domain_experts": adapted.experts.tolist(),
    }
    if data.leak_free_ood is not None:
        kept, clean = data.leak_free_ood, test.trajectories(data.leak_free_ood)
        errors = mse(solution.states[:, kept], clean.x, clean.observed)
        report["out_of_domain_leak_free_mse"] = float(errors.mean())
    return report
