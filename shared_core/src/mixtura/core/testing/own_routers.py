"""The core's routers as cases: every score function, selection and adjustment occurs in one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mixtura.core.activation import Activation
from mixtura.core.adjustments import (
    Adjustment,
    BalanceBias,
    BalancedAssignment,
    GatePro,
    GroupLimit,
    GumbelNoise,
    LogitNormalization,
    Sinkhorn,
)
from mixtura.core.router import Router
from mixtura.core.scores import (
    CapacityPredictor,
    CentroidDistanceScore,
    CosineScore,
    DSelectScore,
    GroupedScore,
    HashScore,
    HyperplaneHashScore,
    KMeansScore,
    LinearScore,
    MixtureModelScore,
    MLPScore,
    NoisyLinearScore,
    PerTaskScore,
    RandomScore,
    RecurrentScore,
    RouterCell,
    SlotScore,
    TableScore,
    TopAnyScore,
)
from mixtura.core.selections import (
    All,
    Capacity,
    ExpertChoice,
    ForceBalanced,
    HardWeights,
    JointWithShared,
    Percentile,
    PoolChoice,
    Positive,
    RandomDrop,
    Selection,
    SoftSlots,
    StraightThrough,
    Threshold,
    TopAny,
    TopK,
    TopP,
    UnitWeights,
    WeightInputs,
)
from mixtura.core.testing.cases import DIM, RouterCase

__all__ = ["OWN_ROUTERS"]

COMPETING = {
    "permutation": "units compete",
    "causality": "units compete",
}
NO_PARAMETERS = {"gradient": "it has no parameters"}


def linear(
    selection: Callable[[int, int], Selection],
    *,
    activation: Activation = "softmax",
    adjustments: Callable[[int, int], Sequence[Adjustment]] = lambda experts, k: (),
    **kwargs: Any,
) -> Callable[[int, int], Router]:
    """A linear score with a selection."""

    def build(experts: int, k: int) -> Router:
        return Router(
            LinearScore(DIM, experts, std=1.0),
            selection(experts, k),
            activation=activation,
            adjustments=adjustments(experts, k),
            **kwargs,
        )

    return build


def with_groups(experts: int, k: int) -> Sequence[Adjustment]:
    """Two groups of which one is kept, where that leaves enough experts."""
    groups = [GroupLimit(2, 1)] if experts % 2 == 0 and k <= experts // 2 else []
    return [BalanceBias(experts), *groups]


def with_gatepro(experts: int, k: int) -> Sequence[Adjustment]:
    """GatePro needs a pair."""
    return [GatePro(0.5)] if experts > 1 else []


def grouped(experts: int, k: int) -> Router:
    """As many clusters as go into the experts."""
    groups = 2 if experts % 2 == 0 else 1
    score = GroupedScore(LinearScore(DIM, experts), KMeansScore(DIM, groups))
    return Router(score, TopK(min(k, experts // groups)))


OWN_ROUTERS = [
    RouterCase("linear_top_k", linear(lambda e, k: TopK(k)), normalized=True),
    RouterCase("dropout_jitter", linear(lambda e, k: TopK(k), dropout=0.1, jitter=0.1)),
    RouterCase(
        "post_softmax",
        linear(lambda e, k: TopK(k, renormalize="softmax"), activation="identity"),
        normalized=True,
    ),
    RouterCase(
        "sigmoid_bias_groups",
        linear(lambda e, k: TopK(k, scale=2.5), activation="sigmoid", adjustments=with_groups),
    ),
    RouterCase("gatepro", linear(lambda e, k: TopK(k), adjustments=with_gatepro)),
    RouterCase("gumbel", linear(lambda e, k: TopK(k), adjustments=lambda e, k: [GumbelNoise()])),
    RouterCase(
        "sinkhorn",
        linear(lambda e, k: TopK(k, renormalize="never"), adjustments=lambda e, k: [Sinkhorn()]),
    ),
    RouterCase(
        "base",
        linear(
            lambda e, k: TopK(1, renormalize="never"),
            activation="sigmoid",
            adjustments=lambda e, k: [BalancedAssignment()],
        ),
    ),
    RouterCase("top_p", linear(lambda e, k: TopP(0.6))),
    RouterCase(
        "top_p_normalized",
        linear(lambda e, k: TopP(0.6), adjustments=lambda e, k: [LogitNormalization(2.0)]),
    ),
    RouterCase("top_p_capped", linear(lambda e, k: TopP(0.6, max_k=k, renormalize=True))),
    RouterCase("percentile", linear(lambda e, k: Percentile(0.5, max_k=k)), normalized=True),
    RouterCase("percentile_unit", linear(lambda e, k: Percentile(0.5, scope="unit"))),
    RouterCase("threshold", linear(lambda e, k: Threshold(0.3, min_k=1))),
    RouterCase("relu", linear(lambda e, k: Positive(), activation="relu")),
    RouterCase("all", linear(lambda e, k: All()), normalized=True),
    RouterCase("capacity", linear(lambda e, k: Capacity(TopK(k), 1.0)), excused={**COMPETING}),
    RouterCase(
        "capacity_by_weight",
        linear(
            lambda e, k: Capacity(TopK(k), 1.0, rule="choices", policy="weight"),
        ),
        excused={"causality": "units compete"},
    ),
    RouterCase(
        "st_moe",
        linear(lambda e, k: StraightThrough(Capacity(RandomDrop(TopK(k)), 1.25, minimum=4))),
        excused=COMPETING,
    ),
    RouterCase(
        "weight_inputs",
        linear(lambda e, k: WeightInputs(TopK(k))),
        excused={
            "gradient": "the weights are factors on the inputs",
        },
    ),
    RouterCase(
        "unit_weights",
        linear(lambda e, k: UnitWeights(TopK(k), 0.5)),
        excused={"gradient": "the weights are fixed"},
    ),
    RouterCase(
        "expert_choice",
        linear(lambda e, k: ExpertChoice(float(min(k, e)), over="pool")),
        excused={"causality": "units compete", "mask": "a masked unit leaves its place to others"},
    ),
    RouterCase(
        "pool_choice",
        lambda e, k: Router(
            CapacityPredictor(LinearScore(DIM, e), DIM), PoolChoice(e, 1.0), activation="sigmoid"
        ),
        excused={"causality": "units compete", "mask": "a masked unit leaves its place to others"},
    ),
    RouterCase(
        "force_balanced",
        linear(lambda e, k: ForceBalanced(k)),
        excused={
            "permutation": "the place decides",
            "forbidden": "the load is decreed",
        },
    ),
    RouterCase("cosine", lambda e, k: Router(CosineScore(DIM, e), TopK(k)), normalized=True),
    RouterCase("mlp", lambda e, k: Router(MLPScore(DIM, e, (6,)), TopK(k)), normalized=True),
    RouterCase(
        "noisy",
        lambda e, k: Router(
            NoisyLinearScore(DIM, e), TopK(k, renormalize="softmax"), activation="identity"
        ),
        normalized=True,
    ),
    RouterCase(
        "recurrent",
        lambda e, k: Router(RecurrentScore(DIM, e, RouterCell(6)), TopK(k)),
        normalized=True,
    ),
    RouterCase(
        "multi_gate",
        lambda e, k: Router(PerTaskScore([LinearScore(DIM, e) for _ in range(3)]), All()),
        context=lambda units, experts: {"task": torch.arange(units) % 3},
        normalized=True,
    ),
    RouterCase(
        "joint_with_shared",
        lambda e, k: Router(LinearScore(DIM, e + 1), JointWithShared(k, 1)),
        normalized=True,
        excused={"forbidden": "its weights are a softmax over what was allowed or not"},
    ),
    RouterCase(
        "dselect",
        lambda e, k: Router(DSelectScore(e, k, dim=DIM), Positive(), activation="identity"),
    ),
    RouterCase(
        "dselect_static",
        lambda e, k: Router(DSelectScore(e, k), Positive(), activation="identity"),
    ),
    RouterCase(
        "top_any",
        lambda e, k: Router(TopAnyScore(DIM, e), TopAny(), activation="identity"),
    ),
    RouterCase(
        "hash",
        lambda e, k: Router(
            HashScore(e, 10, k=k), TopK(k, renormalize="never"), activation="identity"
        ),
        context=lambda units, experts: {"ids": torch.arange(units) % 10},
        normalized=True,
        excused={**NO_PARAMETERS},
    ),
    RouterCase(
        "table",
        lambda e, k: Router(TableScore(10, e, std=1.0), TopK(k)),
        context=lambda units, experts: {"ids": torch.arange(units) % 10},
        normalized=True,
    ),
    RouterCase(
        "hard_weights",
        linear(lambda e, k: HardWeights(TopK(k, renormalize="never"))),
    ),
    RouterCase(
        "hyperplanes",
        lambda e, k: Router(
            HyperplaneHashScore(DIM, e), TopK(1, renormalize="never"), activation="identity"
        ),
        normalized=True,
        excused={**NO_PARAMETERS},
    ),
    RouterCase(
        "kmeans",
        lambda e, k: Router(KMeansScore(DIM, e, momentum=0.1), TopK(1)),
        normalized=True,
        excused=NO_PARAMETERS,
    ),
    RouterCase(
        "farthest_centroids",
        lambda e, k: Router(
            CentroidDistanceScore(DIM, e, distance_mode="largest"),
            TopK(k, renormalize="softmax"),
            activation="identity",
        ),
        normalized=True,
        excused=NO_PARAMETERS,
    ),
    RouterCase(
        "clusters",
        grouped,
        normalized=True,
        context=lambda units, experts: {"group": torch.arange(units) % 2 * (experts % 2 == 0)},
    ),
    RouterCase(
        "mixture_model",
        lambda e, k: Router(MixtureModelScore(DIM, e, latent_dim=4, components=3), TopK(k)),
        normalized=True,
        excused={"gradient": "the mixture is trained apart from the task"},
    ),
    RouterCase(
        "random",
        lambda e, k: Router(RandomScore(e), TopK(k)),
        normalized=True,
        excused={
            **COMPETING,
            **NO_PARAMETERS,
            "precision": "it tosses",
            "determinism": "it tosses",
            "autocast": "it tosses",
            "state_dict": "it tosses",
            "configuration": "it tosses",
            "mask": "it tosses",
            "forbidden": "it tosses",
        },
    ),
    RouterCase(
        "soft",
        lambda e, k: Router(SlotScore(DIM, e, 2), SoftSlots(2), activation="identity"),
        normalized=True,
        excused={
            "causality": "slots mix all units",
            "gradient": "the weights of experts always sum to 1 over the slots",
            "forbidden": "experts work on slots",
        },
    ),
]
