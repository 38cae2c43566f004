"""The core's losses as cases, each on a router that has what the loss looks at."""

import torch

from mixtura.core.losses import (
    ActiveScores,
    CapacityPrediction,
    DirichletPrior,
    ExpertDiversity,
    ExpertOrthogonality,
    ExpertSimplicity,
    GroupBalance,
    GroupedBalance,
    Importance,
    LoadBalance,
    MarginalEntropy,
    MixtureFit,
    MutualInformation,
    RouterEntropy,
    RouterZ,
    RoutingContrastive,
    RoutingVariance,
    SelectorEntropy,
    SmoothLoad,
)
from mixtura.core.router import Router
from mixtura.core.scores import (
    CapacityPredictor,
    CosineScore,
    DSelectScore,
    GroupedScore,
    KMeansScore,
    LinearScore,
    MixtureModelScore,
    NoisyLinearScore,
    PerTaskScore,
    TopAnyScore,
)
from mixtura.core.selections import PoolChoice, Positive, TopAny, TopK
from mixtura.core.testing.cases import DIM, LossCase

__all__ = ["OWN_LOSSES"]


def token_choice(experts: int, k: int) -> Router:
    """The ordinary router."""
    return Router(LinearScore(DIM, experts, std=1.0), TopK(k))


def clusters(experts: int, k: int) -> Router:
    """One group of experts for all clusters there are."""
    return Router(GroupedScore(LinearScore(DIM, experts), KMeansScore(DIM, 1)), TopK(k))


def noisy(experts: int, k: int) -> Router:
    """Noise in training, which the load loss needs."""
    selection = TopK(k, renormalize="softmax")
    return Router(NoisyLinearScore(DIM, experts), selection, activation="identity")


def pool(experts: int, k: int) -> Router:
    """A predictor beside the scores."""
    score = CapacityPredictor(LinearScore(DIM, experts), DIM)
    return Router(score, PoolChoice(experts), activation="sigmoid")


OWN_LOSSES = [
    LossCase("load_balance", lambda e, k: LoadBalance(), token_choice),
    LossCase(
        "load_balance_sequences",
        lambda e, k: LoadBalance(per="sample", scores="share", normalization="units_k"),
        token_choice,
    ),
    LossCase(
        "load_balance_first",
        lambda e, k: LoadBalance(first_only=True, count_dropped=False, normalization="mean"),
        token_choice,
    ),
    LossCase("router_z", lambda e, k: RouterZ(), token_choice),
    LossCase("importance", lambda e, k: Importance(), token_choice),
    LossCase("smooth_load", lambda e, k: SmoothLoad(min(k, e - 1)), noisy),
    LossCase("router_entropy", lambda e, k: RouterEntropy(), token_choice),
    LossCase("marginal_entropy", lambda e, k: MarginalEntropy(), token_choice),
    LossCase("expert_orthogonality", lambda e, k: ExpertOrthogonality(), token_choice),
    LossCase("projections", lambda e, k: ExpertOrthogonality(normalized=False), token_choice),
    LossCase(
        "probed_orthogonality",
        lambda e, k: ExpertOrthogonality(probe=1, probe_share=1.0),
        token_choice,
    ),
    LossCase("routing_variance", lambda e, k: RoutingVariance(), token_choice),
    LossCase("dirichlet_prior", lambda e, k: DirichletPrior(0.75), token_choice),
    LossCase("group_balance", lambda e, k: GroupBalance([0, *[1] * (e - 1)]), token_choice),
    LossCase("communication", lambda e, k: GroupBalance(1, count="units", limit=1), token_choice),
    LossCase("grouped_balance", lambda e, k: GroupedBalance(1), clusters),
    LossCase(
        "active_scores",
        lambda e, k: ActiveScores(k),
        lambda e, k: Router(LinearScore(DIM, e, std=1.0), Positive(), activation="relu"),
    ),
    LossCase(
        "mixture_fit",
        lambda e, k: MixtureFit(),
        lambda e, k: Router(MixtureModelScore(DIM, e, latent_dim=3, components=2), TopK(k)),
        excused={"padding": "the latent is standardised over all units that are looked at"},
    ),
    LossCase(
        "selector_entropy",
        lambda e, k: SelectorEntropy(outside=0.1),
        lambda e, k: Router(DSelectScore(e, k, dim=DIM), Positive(), activation="identity"),
    ),
    LossCase(
        "expert_diversity",
        lambda e, k: ExpertDiversity(),
        lambda e, k: Router(TopAnyScore(DIM, e), TopAny(), activation="identity"),
    ),
    LossCase(
        "expert_simplicity",
        lambda e, k: ExpertSimplicity(),
        lambda e, k: Router(TopAnyScore(DIM, e), TopAny(), activation="identity"),
    ),
    LossCase("capacity_prediction", lambda e, k: CapacityPrediction(), pool),
    LossCase(
        "mutual_information",
        lambda e, k: MutualInformation(num_tasks=3),
        lambda e, k: Router(PerTaskScore([LinearScore(DIM, e) for _ in range(3)]), TopK(k)),
        context=lambda units: {"task": torch.arange(units) % 3},
    ),
    LossCase(
        "routing_contrastive",
        lambda e, k: RoutingContrastive(),
        lambda e, k: Router(CosineScore(DIM, e), TopK(k)),
    ),
]
