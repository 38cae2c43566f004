"""HoME: two levels of multi-gate mixtures with feature gates and self gates."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mixtura.core import (
    All,
    DeepMLPExperts,
    ExpertGroups,
    LinearScore,
    MoELayer,
    PerTaskScore,
    Router,
    SampleUnits,
    combine,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance


def linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def score(weights: dict[str, Tensor], name: str) -> LinearScore:
    weight = weights[f"{name}.weight"]
    gate = LinearScore(weight.shape[1], len(weight), bias=True)
    gate.load_state_dict({"weight": weight, "bias": weights[f"{name}.bias"]})
    return gate


def bank(weights: dict[str, Tensor], group: str, count: int) -> DeepMLPExperts:
    """The experts of one group."""
    names = {"weight.0": "linear.weight", "bias.0": "linear.bias"}
    names |= {"norm_weight": "bn.weight", "norm_bias": "bn.bias"}
    values = {
        name: torch.stack([weights[f"{group}.expert{e}.{key}"] for e in range(count)])
        for name, key in names.items()
    }
    width, dim = values["weight.0"].shape[1:]
    experts = DeepMLPExperts(count, dim, [width], norm="batch", output_activation="silu")
    experts.load_state_dict(values, strict=False)
    return experts


def feature_gate(weights: dict[str, Tensor], group: str, u: Tensor, count: int) -> Tensor:
    """`sum_l softmax(linear(u))_l 2 sigmoid(u B_l A_l)`."""
    share = linear(weights, f"{group}.fea.gate", u).softmax(-1)
    gates = [
        2 * torch.sigmoid(u @ weights[f"{group}.fea.lora{n}.B"] @ weights[f"{group}.fea.lora{n}.A"])
        for n in range(count)
    ]
    return torch.einsum("ul,uld->ud", share, torch.stack(gates, 1))


def level(
    weights: dict[str, Tensor], name: str, sizes: dict[str, int], pools: dict[str, list[str]]
) -> tuple[MoELayer, Router]:
    """A multi-gate layer over groups of experts, and the self gates of its last groups.

    `pools` says which groups the gate of each name sees; its self gate sees the last of them.
    """
    start = dict(zip(sizes, torch.tensor([0, *sizes.values()]).cumsum(0).tolist(), strict=False))
    own = {group: list(range(start[group], start[group] + size)) for group, size in sizes.items()}
    visible = [[e for group in groups for e in own[group]] for groups in pools.values()]
    gates = PerTaskScore([score(weights, f"{name}.{gate}.gate") for gate in pools], visible=visible)
    experts = ExpertGroups([bank(weights, f"{name}.{g}", size) for g, size in sizes.items()])
    layer = MoELayer(Router(gates, All()), experts, units=SampleUnits(pool="none"))
    selfish = [gate for gate in pools if f"{name}.{gate}.self.weight" in weights]
    seen = [own[pools[gate][-1]] for gate in selfish]
    many = len(seen[0]) > 1
    self_scores = [score(weights, f"{name}.{gate}.self") for gate in selfish]
    self_gates = PerTaskScore(self_scores, visible=seen, num_experts=experts.num_experts)
    return layer, Router(self_gates, All(), activation="softmax" if many else "sigmoid")


@system("home")
def home(fixture: Fixture, report: Report) -> None:
    """Both levels in training mode."""
    report.tolerance = Tolerance(5e-5, 0.0)
    options, w = fixture.options, fixture.weights
    for name in ("seed", "input_dim", "expert_dim", "batch"):
        options.get(name)
    options.only("bn", "batch statistics (training mode), biased variance, eps 1e-5")
    options.only("expert", "Linear, BatchNorm, Swish")
    categories, count = options["task_groups"].plain(), options["num_lora"]
    x = fixture.input("x")

    sizes = {"shared": options["l1_shared"]} | {c: options["l1_category"] for c in categories}
    pools = {c: ["shared", c] for c in categories} | {"shared": list(sizes)}
    layer, selves = level(w, "l1", sizes, pools)
    factors = {group: feature_gate(w, f"l1.{group}", x, count) for group in sizes}
    for group, factor in factors.items():
        report.compare(f"l1.feature_gate.{group}", factor)
    views = torch.stack([x * factor for factor in factors.values()], 1)
    outputs = layer.experts.all(views)
    for group, own in zip(sizes, outputs.split(list(sizes.values()), 1), strict=True):
        report.compare(f"l1.experts.{group}", own)
    z = {}
    for task, (gate, groups) in enumerate(pools.items()):
        routing = layer.route(views, route_on=x, task=task)
        z[gate] = combine(outputs, routing)
        report.compare(f"l1.gate.{gate}", pool_weights(routing, sizes, groups))
        if gate in categories:
            own = selves(x, task=task)
            z[gate] = z[gate] + combine(outputs, own)
            report.compare(f"l1.self.{gate}", pool_weights(own, sizes, groups[-1:]))
        report.compare(f"z.{gate}", z[gate])

    of = {task: category for category, tasks in categories.items() for task in tasks}
    sizes = {"shared": options["l2_shared"]} | {c: options["l2_category"] for c in categories}
    sizes |= dict.fromkeys(of, options["l2_task"])
    pools = {task: ["shared", category, task] for task, category in of.items()}
    layer, selves = level(w, "l2", sizes, pools)
    inputs = {"shared": z["shared"]} | {c: z[c] for c in categories}
    inputs |= {task: z[category] for task, category in of.items()}
    views = torch.stack([u * feature_gate(w, f"l2.{g}", u, count) for g, u in inputs.items()], 1)
    outputs = layer.experts.all(views)
    for number, (task, groups) in enumerate(pools.items()):
        seen = torch.cat([z[of[task]], z["shared"]], -1)
        routing = layer.route(views, route_on=seen, task=number)
        own = selves(seen, task=number)
        represented = combine(outputs, routing) + combine(outputs, own)
        logit = linear(w, f"tower.{task}.1", linear(w, f"tower.{task}.0", represented).relu())[:, 0]
        report.compare(f"l2.gate.{task}", pool_weights(routing, sizes, groups))
        report.compare(f"l2.self.{task}", pool_weights(own, sizes, groups[-1:]))
        report.compare(f"task_repr.{task}", represented)
        report.compare(f"logit.{task}", logit)
        report.compare(f"prob.{task}", logit.sigmoid())


def pool_weights(routing, sizes: dict[str, int], groups: list[str]) -> Tensor:
    """The weights of some groups' experts, group by group."""
    parts = dict(zip(sizes, routing.dense_weight.split(list(sizes.values()), 1), strict=True))
    return torch.cat([parts[group] for group in groups], 1)
