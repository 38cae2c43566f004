"""Every constructor refuses impossible values with a sentence, and so does a forward pass."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch

from mixtura.core import (
    AttendedSamples,
    BiasBalance,
    Capacity,
    Chain,
    GateFreeze,
    GLUExperts,
    GroupedScore,
    InputError,
    KMeansScore,
    LinearScore,
    MLPExperts,
    MoELayer,
    PerTaskScore,
    RecurrentScore,
    Router,
    RouterCell,
    SampleUnits,
    SegmentUnits,
    SharedExpert,
    SparsityControl,
    TableScore,
    TopK,
    TopPControl,
    from_config,
    layer_capacity,
    to_config,
)
from mixtura.core.testing import EXPERTS, LOSSES, ROUTERS

# Run without the shape checks, which would refuse a wrong literal or mask before the core does.
pytestmark = pytest.mark.compile

# Where zero, a negative number or nothing is right.
RIGHT = {
    ("BiasBalance", "min_units", 0),
    ("BiasBalance", "until_step", 0),
    ("Capacity", "minimum", 0),
    ("ExpertChoice", "minimum", 0),
    ("ExpertOrthogonality", "probe", 0),
    ("GateFreeze", "min_steps", 0),
    ("HashScore", "seed", 0),
    ("HashScore", "seed", -1),
    ("HyperplaneHashScore", "seed", 0),
    ("HyperplaneHashScore", "seed", -1),
    ("LoRAExperts", "scale", -1.0),
    ("MixtureModelScore", "warmup", 0),
    ("Router", "reserved", 0),
    ("SharedExpert", "factor", -1.0),
    ("Threshold", "min_k", 0),
    ("Threshold", "threshold", -1.0),
    ("TopP", "min_k", 0),
}


def examples() -> list[Any]:
    found = [case.seeded() for case in ROUTERS]
    found += [case.seeded() for case in EXPERTS if "configuration" not in case.excused]
    found += [case.build(4, 2) for case in LOSSES]
    found += [BiasBalance(), TopPControl(2.0), SparsityControl(2), GateFreeze(10)]
    found += [SegmentUnits(4), SampleUnits(), AttendedSamples(8)]
    return [*found, SharedExpert(MLPExperts(1, 4, 4), gate_dim=4)]


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every configured object inside a tree."""
    if isinstance(tree, dict):
        if "class_path" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


def impossible(value: Any) -> list[Any]:
    """Values of the same kind that make no sense."""
    if isinstance(value, bool):
        return []
    if isinstance(value, str):
        return ["nonsense"]
    if isinstance(value, int):
        return [0, -1]
    return [float("nan"), float("inf"), -1.0] if isinstance(value, float) else []


def trials() -> dict[str, tuple[dict[str, Any], str, Any]]:
    found = {}
    for tree in map(to_config, examples()):
        for node in nodes(tree):
            kind = node["class_path"].rpartition(".")[2]
            for name, value in node["init_args"].items():
                for wrong in impossible(value):
                    if (kind, name, wrong) not in RIGHT:
                        found.setdefault(f"{kind}-{name}-{wrong}", (node, name, wrong))
    return found


@pytest.mark.parametrize("trial", trials().values(), ids=trials())
def test_an_impossible_argument_is_refused(trial: tuple[dict[str, Any], str, Any]) -> None:
    node, name, wrong = trial
    changed = deepcopy(node)
    changed["init_args"][name] = wrong
    with pytest.raises(InputError) as refusal:
        from_config(changed)
    assert str(wrong) in str(refusal.value) or repr(wrong) in str(refusal.value)


def layer(**kwargs: Any) -> MoELayer:
    return MoELayer(Router(LinearScore(4, 2), TopK(1)), GLUExperts(2, 4, 6), **kwargs)


X = torch.randn(3, 5, 4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: layer()(torch.randn(3, 5)), "looks at"),
        (lambda: layer()(torch.randn(2, 7), route_on=torch.randn(2, 4)), "rows of width 4, got 7"),
        (lambda: layer()(X, route_on=torch.randn(2, 4)), "15"),
        (lambda: layer()(X, mask=torch.ones(3).bool()), "mask must be"),
        (lambda: layer()(X, mask=torch.ones(3, 5)), "true"),
        (lambda: layer()(X, mask=torch.ones(5, 3).bool()), "mask must be"),
        (lambda: layer(units=SegmentUnits(5))(X), "looks at"),
        (lambda: layer(units=SampleUnits())(X, mask=torch.ones(3, 5).bool()), "mask must be"),
        (lambda: layer()(X, forced=torch.zeros(4).long()), "one entry for each of 15"),
        (lambda: layer()(X, forced=torch.full((15,), 7)), "between"),
        (lambda: layer()(X, task=0), "does not look at task"),
        (lambda: layer().compute(X, layer().route(X[:2])), "10 units"),
        (
            lambda: Router(PerTaskScore([LinearScore(4, 2)]), TopK(1))(X[0], task=1),
            "tasks are 0 to 0",
        ),
        (
            lambda: Router(PerTaskScore([LinearScore(4, 2)]), TopK(1))(
                X[0], task=torch.zeros(3).long()
            ),
            "each of 5",
        ),
        (
            lambda: Router(GroupedScore(LinearScore(4, 2), KMeansScore(3, 1)), TopK(1))(X[0]),
            "embedding",
        ),
        (
            lambda: Router(RecurrentScore(4, 2, RouterCell(3)), TopK(1))(
                X[0], state=torch.zeros(5, 2)
            ),
            "state must be",
        ),
        (
            lambda: Router(TableScore(3, 2), TopK(1))(X[0], ids=torch.full((5,), 3)),
            "between 0 and 2",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_wrong_input_is_refused(call, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()


@pytest.mark.parametrize(
    "build",
    [
        lambda: MoELayer(Router(LinearScore(4, 2), TopK(1)), MLPExperts(3, 4, 6)),
        lambda: layer(dispatch="sorted_loops"),
        lambda: Chain([], MLPExperts(2, 4, 6)),
        lambda: Chain([Router(LinearScore(4, 2), TopK(1))] * 2, MLPExperts(2, 4, 6), steps=3),
        lambda: Capacity(TopK(1), -1.0),
        lambda: layer_capacity("uniform", 0, 1, 2),
        lambda: layer_capacity("stairs", 3, 1, 2),
    ],
)
def test_parts_that_do_not_fit_are_refused(build) -> None:
    with pytest.raises(InputError) as refusal:
        build()
    assert len(str(refusal.value).split()) > 6
