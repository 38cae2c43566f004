"""Any score function with any selection: it works, or it is refused with a sentence."""

from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import pytest
import torch

import mixtura.core
from mixtura.core import (
    Adjustment,
    All,
    BalanceBias,
    BalancedAssignment,
    Capacity,
    CapacityPredictor,
    CentroidDistanceScore,
    CosineScore,
    DSelectScore,
    ExpertChoice,
    ForceBalanced,
    GatePro,
    GroupedScore,
    GroupLimit,
    GumbelNoise,
    HardWeights,
    HashScore,
    HyperplaneHashScore,
    InputError,
    JointWithShared,
    KMeansScore,
    LinearScore,
    LogitNormalization,
    MixtureModelScore,
    MLPScore,
    NoisyLinearScore,
    Percentile,
    PerTaskScore,
    PoolChoice,
    Positive,
    RandomDrop,
    RandomScore,
    RecurrentScore,
    Router,
    RouterCell,
    Score,
    Selection,
    Sinkhorn,
    SlotScore,
    SoftSlots,
    StraightThrough,
    TableScore,
    Threshold,
    TopAny,
    TopAnyScore,
    TopK,
    TopP,
    UnitWeights,
    WeightInputs,
)
from mixtura.core.activation import Activation

E, DIM, UNITS = 4, 6, 8
IDS = {"ids": torch.arange(UNITS) % 5}
TASKS = {"task": torch.arange(UNITS) % 2}

SCORES: dict[str, tuple[Callable[[], Score], dict[str, Any]]] = {
    "linear": (lambda: LinearScore(DIM, E, std=1.0), {}),
    "cosine": (lambda: CosineScore(DIM, E, projection=3, temperature=0.5), {}),
    "mlp": (lambda: MLPScore(DIM, E, (5,)), {}),
    "noisy": (lambda: NoisyLinearScore(DIM, E), {}),
    "recurrent": (lambda: RecurrentScore(DIM, E, RouterCell(3)), {}),
    "centroids": (lambda: CentroidDistanceScore(DIM, E), {}),
    "kmeans": (lambda: KMeansScore(DIM, E, momentum=0.1), {}),
    "mixture": (lambda: MixtureModelScore(DIM, E, latent_dim=2, components=2), {}),
    "top_any": (lambda: TopAnyScore(DIM, E), {}),
    "random": (lambda: RandomScore(E), {}),
    "predictor": (lambda: CapacityPredictor(LinearScore(DIM, E), DIM), {}),
    "tasks": (lambda: PerTaskScore([LinearScore(DIM, E) for _ in range(2)]), TASKS),
    "visible": (
        lambda: PerTaskScore([LinearScore(DIM, 3) for _ in "ab"], visible=[[0, 1, 2], [1, 2, 3]]),
        TASKS,
    ),
    "clusters": (lambda: GroupedScore(LinearScore(DIM, E), KMeansScore(DIM, 2)), {}),
    "dselect": (lambda: DSelectScore(E, 2, dim=DIM), {}),
    "hash": (lambda: HashScore(E, 5, k=2), IDS),
    "table": (lambda: TableScore(5, E), IDS),
    "hyperplanes": (lambda: HyperplaneHashScore(DIM, E), {}),
    "slots": (lambda: SlotScore(DIM, E, 2), {}),
}
SELECTIONS: dict[str, Callable[[], Selection]] = {
    "top_1": lambda: TopK(1, renormalize="never"),
    "top_2": lambda: TopK(2),
    "top_2_softmax": lambda: TopK(2, renormalize="softmax"),
    "top_p": lambda: TopP(0.5),
    "percentile": lambda: Percentile(0.6),
    "percentile_unit": lambda: Percentile(0.6, scope="unit"),
    "threshold": lambda: Threshold(0.3, renormalize=True),
    "positive": Positive,
    "top_any": TopAny,
    "all": All,
    "expert_choice": lambda: ExpertChoice(2.0),
    "pool_choice": lambda: PoolChoice(E, 2.0),
    "joint": lambda: JointWithShared(2, 1),
    "balanced": lambda: ForceBalanced(2),
    "slots": lambda: SoftSlots(2),
    "capacity": lambda: Capacity(TopK(2), 1.0),
    "random_drop": lambda: RandomDrop(TopK(2)),
    "inputs": lambda: WeightInputs(TopK(2)),
    "straight": lambda: StraightThrough(ExpertChoice(2.0)),
    "unit_weights": lambda: UnitWeights(TopK(2)),
    "hard_weights": lambda: HardWeights(TopK(1, renormalize="never")),
}
ADJUSTMENTS: dict[str, Callable[[], list[Adjustment]]] = {
    "nothing": list,
    "bias": lambda: [BalanceBias(E)],
    "groups": lambda: [GroupLimit(2, 1)],
    "gatepro": lambda: [GatePro(0.5)],
    "gatepro_choice": lambda: [GatePro(0.5, weights_from="original")],
    "gumbel": lambda: [GumbelNoise()],
    "normalized": lambda: [LogitNormalization()],
    "sinkhorn": lambda: [Sinkhorn()],
    "base": lambda: [BalancedAssignment()],
    "bias_groups": lambda: [BalanceBias(E), GroupLimit(2, 1)],
    "sinkhorn_groups": lambda: [Sinkhorn(), GroupLimit(2, 1)],
    "bias_sinkhorn": lambda: [BalanceBias(E), Sinkhorn()],
}
SENSIBLE = {
    ("linear", "top_2", "softmax", "nothing"),
    ("linear", "top_2", "sigmoid", "bias_groups"),
    ("linear", "top_2_softmax", "identity", "nothing"),
    ("linear", "positive", "relu", "nothing"),
    ("linear", "top_1", "sigmoid", "base"),
    ("cosine", "top_1", "identity", "nothing"),
    ("cosine", "top_2", "softmax", "gatepro"),
    ("mlp", "all", "softmax", "nothing"),
    ("noisy", "top_2_softmax", "identity", "nothing"),
    ("recurrent", "top_p", "softmax", "nothing"),
    ("mixture", "top_2", "softmax", "nothing"),
    ("tasks", "joint", "softmax", "nothing"),
    ("visible", "all", "softmax", "nothing"),
    ("clusters", "top_2", "softmax", "bias"),
    ("predictor", "pool_choice", "sigmoid", "nothing"),
    ("dselect", "positive", "identity", "nothing"),
    ("hash", "top_2", "identity", "nothing"),
    ("slots", "slots", "identity", "nothing"),
    ("top_any", "top_any", "identity", "nothing"),
    ("linear", "expert_choice", "softmax", "nothing"),
    ("linear", "capacity", "softmax", "sinkhorn"),
}
SENSELESS = {
    ("slots", "top_2", "identity", "nothing"),
    ("linear", "slots", "identity", "nothing"),
    ("hash", "top_2", "softmax", "nothing"),
    ("hyperplanes", "top_2", "identity", "nothing"),
    ("linear", "top_p", "relu", "nothing"),
    ("linear", "top_2", "identity", "nothing"),
    ("linear", "all", "softmax", "bias"),
    ("linear", "top_1", "softmax", "bias_sinkhorn"),
    ("linear", "percentile", "softmax", "gumbel"),
    ("linear", "threshold", "softmax", "gatepro_choice"),
    ("linear", "joint", "softmax", "groups"),
    ("linear", "top_2", "softmax", "base"),
    ("random", "top_2", "softmax", "gatepro"),
    ("visible", "balanced", "softmax", "nothing"),
    ("hash", "top_2", "identity", "bias"),
}


def build(score: str, selection: str, activation: Activation, adjustments: str) -> Router:
    return Router(
        SCORES[score][0](),
        SELECTIONS[selection](),
        activation=activation,
        adjustments=ADJUSTMENTS[adjustments](),
    )


def built_or_refused(*case: Any) -> tuple[Router | None, str]:
    try:
        return build(*case), ""
    except InputError as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("score", SCORES)
def test_a_pair_works_or_is_refused_when_it_is_built(score: str) -> None:
    torch.manual_seed(0)
    x, context = torch.randn(UNITS, DIM), SCORES[score][1]
    mask = torch.arange(UNITS) != 3
    accepted = set()
    for names in product(SELECTIONS, get_args(Activation), ADJUSTMENTS):
        case = (score, *names)
        router, refusal = built_or_refused(*case)
        if router is None:
            assert case not in SENSIBLE, refusal
            assert len(refusal.split()) > 8, case  # a sentence
            continue
        accepted.add(case)
        for training in (True, False):
            routing = router.train(training)(x, mask=mask, **context)
            assert torch.isfinite(routing.dense_weight).all(), case
            assert torch.isfinite(routing.weight).all(), case
            assert not routing.chosen[3].any(), case
            if case[-1].endswith("groups"):
                groups = routing.chosen.view(UNITS, 2, -1).any(-1)
                assert groups.sum(-1).max() <= 1, case
        for name, value in router.named_buffers():
            assert torch.isfinite(value).all(), (case, name)
    assert not accepted & SENSELESS
    assert accepted


def test_every_public_part_takes_part() -> None:
    parts = {type(m) for make, _ in SCORES.values() for m in make().modules()}
    parts |= {type(m) for make in SELECTIONS.values() for m in make().modules()}
    parts |= {type(m) for make in ADJUSTMENTS.values() for m in make()}
    public = {getattr(mixtura.core, name) for name in mixtura.core.__all__}
    kinds = {p for p in public if isinstance(p, type)}
    kinds = {p for p in kinds if issubclass(p, Score | Selection | Adjustment)}
    bases = {Score, Selection, Adjustment, mixtura.core.SelectionWrapper}
    assert kinds - parts == bases


@pytest.mark.parametrize(
    "build",
    [
        lambda: Capacity(ExpertChoice()),
        lambda: RandomDrop(SoftSlots()),
        lambda: UnitWeights(SoftSlots()),
        lambda: Router(LinearScore(4, 2), TopK(3)),
        lambda: Router(LinearScore(4, 2), JointWithShared(1, 2)),
        lambda: Router(LinearScore(4, 2), PoolChoice(3)),
        lambda: Router(SlotScore(4, 2, 3), SoftSlots(2), activation="identity"),
        lambda: Router(SlotScore(4, 2, 2), SoftSlots(2), activation="identity", reserved=1),
        lambda: Router(LinearScore(4, 2), TopK(1), adjustments=[BalanceBias(3)]),
        lambda: Router(
            LinearScore(4, 4),
            TopK(2),
            adjustments=[GroupLimit(2, 1, score="topk_over_groups", k=1)],
        ),
    ],
)
def test_numbers_that_do_not_go_together_are_refused_when_it_is_built(build) -> None:
    with pytest.raises(InputError):
        build()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_causal_router_takes_causal_parts_only(selection: str) -> None:
    causal = SELECTIONS[selection]().causal
    score, activation = {
        "slots": ("slots", "identity"),
        "positive": ("linear", "relu"),
        "top_any": ("top_any", "identity"),
    }.get(selection, ("linear", "softmax"))
    parts = SCORES[score][0](), SELECTIONS[selection]()
    if not causal:
        with pytest.raises(InputError, match="causal"):
            Router(*parts, activation=activation, causal=True)
        return
    router = Router(*parts, activation=activation, causal=True).train()
    x = torch.randn(UNITS, DIM)
    torch.manual_seed(0)
    whole = router(x)
    torch.manual_seed(0)
    cut = router(torch.cat([x[:3], torch.randn(UNITS - 3, DIM)]))
    torch.testing.assert_close(cut.dense_weight[:3], whole.dense_weight[:3])


def test_a_causal_router_refuses_adjustments_that_let_units_compete() -> None:
    with pytest.raises(InputError, match="Sinkhorn"):
        Router(LinearScore(4, 4), TopK(1), adjustments=[Sinkhorn()], causal=True)
