"""Does the routing recover the families? Labels are used here and nowhere in training."""

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LinearRegression
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from torch import Tensor

__all__ = ["FamilyRecovery", "family_recovery", "parameter_r2", "purity"]

FamilyRecovery = dict[str, float]


def purity(expert: Int[Tensor, "environments"], family: Int[Tensor, "environments"]) -> float:
    """Share of the environments whose family is the most frequent one at their expert."""
    total = sum(int(torch.bincount(family[expert == e]).max()) for e in expert.unique())
    return total / len(family)


def family_recovery(
    expert: Int[Tensor, "environments"],
    family: Int[Tensor, "environments"],
    num_experts: int,
    contexts: Float[Tensor, "environments context"] | None = None,
) -> FamilyRecovery:
    """Purity, ARI, NMI, entropy of the experts' use (1 is even), silhouette of the contexts."""
    share = torch.bincount(expert, minlength=num_experts) / len(expert)
    entropy = float(-(share * share.clamp_min(1e-12).log()).sum())
    scores = {
        "purity": purity(expert, family),
        "ari": float(adjusted_rand_score(family.numpy(), expert.numpy())),
        "nmi": float(normalized_mutual_info_score(family.numpy(), expert.numpy())),
        "expert_entropy": entropy / np.log(num_experts) if num_experts > 1 else 1.0,
    }
    if contexts is not None and 1 < len(family.unique()) < len(family):
        scores["silhouette"] = float(silhouette_score(contexts.numpy(), family.numpy()))
    return scores


def parameter_r2(
    contexts: Float[Tensor, "environments context"],
    parameters: Float[Tensor, "environments parameters"],
    family: Int[Tensor, "environments"],
) -> dict[int, float]:
    """R^2 per family of a linear map from context to true parameters.

    A family with no more environments than context entries is left out: its fit is exact for any
    contexts.
    """
    scores = {}
    for label in family.unique().tolist():
        members = family == label
        x, y = contexts[members].numpy(), parameters[members].numpy()
        varying = y.std(0) > 0
        if len(x) <= x.shape[1] + 1 or not varying.any():
            continue
        scores[int(label)] = float(LinearRegression().fit(x, y[:, varying]).score(x, y[:, varying]))
    return scores
