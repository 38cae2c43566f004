"""DPSL: routing probabilities should be distributed like a Dirichlet prior."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.beta_distribution import beta_cdf
from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.routing import Routing

__all__ = ["DirichletPrior", "dirichlet_prior"]


def dirichlet_prior(
    probabilities: Float[Tensor, "units routed"], alpha: Float[Tensor, "routed"]
) -> Float[Tensor, ""]:
    """Distance of each expert's empirical distribution from its marginal under Dirichlet(alpha).

    The marginal of expert e is Beta(alpha_e, A - alpha_e) with A the sum of alpha. With the
    probabilities sorted: `sum_e (1/U) sum_u (F(p_(u)e) - u / (U + 1))^2`.

    Dirichlet-Prior Shaping Loss (arXiv 2510.01185); the form of the sum is that of batch shaping
    (Bejnordi et al., arXiv 1907.06627).

    Args:
        probabilities: of each unit; rows sum to 1.
        alpha: the prior, positive.
    """
    units, routed = probabilities.shape
    if alpha.shape != (routed,) or not bool((alpha > 0).all()):
        raise InputError(f"alpha needs {routed} positive numbers, got {alpha.tolist()}")
    if routed < 2:
        raise InputError("a Dirichlet prior needs at least two experts, got one")
    if units == 0:
        return probabilities.sum()
    ordered = probabilities.sort(0).values.double()
    # The density has poles at both ends for alpha < 1; the gradient still passes the clamp.
    ordered = ordered + (ordered.clamp(1e-6, 1 - 1e-6) - ordered).detach()
    target = torch.arange(1, units + 1, device=ordered.device) / (units + 1)
    total = float(alpha.sum())
    parts = [
        (beta_cdf(ordered[:, e], a, total - a) - target).square().mean()
        for e, a in enumerate(alpha.tolist())
    ]
    return torch.stack(parts).sum().to(probabilities.dtype)


@configurable
class DirichletPrior(Loss):
    """`dirichlet_prior` as a configured loss.

    Published values for a symmetric prior: 0.75 and 1.0. The prior can differ by a label of the
    unit (modality, task): the loss is then summed over the labels, each with its own units. It can
    be used in a warm-up phase only.

    Args:
        alpha: of every expert, or one number for each.
        weight: factor of the term.
        by_label: one alpha vector for each label; the router's score function has to keep `label`
            (or `task`) per unit.
        max_units: of more units a random sample of this size is used.
        scope: per layer, or pooled.
    """

    name = "dirichlet_prior"
    reads_shares = True

    def __init__(
        self,
        alpha: float | Sequence[float] = 1.0,
        weight: float = 0.01,
        *,
        by_label: Sequence[Sequence[float]] | None = None,
        max_units: int | None = None,
        scope: Scope = "layer",
    ) -> None:
        super().__init__(weight, scope)
        check_number("max_units", 2 if max_units is None else max_units, least=2)
        for vector in [alpha] if by_label is None else by_label:
            for number in [vector] if isinstance(vector, int | float) else vector:
                check_number("alpha", number, above=0)
        self.alpha = alpha
        self.by_label = by_label
        self.max_units = max_units

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        shares, labels = [], []
        for call in calls:
            share = scores_of(call, "share")
            label = call.aux.get("label", call.aux.get("task", 0))
            label = torch.as_tensor(label, device=share.device).expand(len(share))
            if call.free is not None:
                share, label = share[call.free], label[call.free]
            shares.append(share)
            labels.append(label)
        if not shares:
            raise InputError("a Dirichlet-prior loss needs at least one routing")
        share, label = torch.cat(shares), torch.cat(labels)
        if self.max_units is not None and len(share) > self.max_units:
            some = torch.randperm(len(share), device=share.device)[: self.max_units]
            share, label = share[some], label[some]
        if self.by_label is None:
            alpha = self.alpha
            numbers = [alpha] * share.shape[-1] if isinstance(alpha, int | float) else list(alpha)
            return dirichlet_prior(share, torch.tensor(numbers, device=share.device))
        terms = [
            dirichlet_prior(share[label == i], torch.tensor(list(alpha), device=share.device))
            for i, alpha in enumerate(self.by_label)
        ]
        return torch.stack(terms).sum()
