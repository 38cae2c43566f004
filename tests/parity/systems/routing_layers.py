"""Soft MoE, the ST-MoE layer, recurrent routers, dynamic top-p."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import (
    Capacity,
    LoadBalance,
    MLPExperts,
    ModuleExperts,
    MoELayer,
    OutputBias,
    RandomDrop,
    RecurrentScore,
    Router,
    RouterCell,
    RouterZ,
    SharedExpert,
    SlotScore,
    SoftSlots,
    StraightThrough,
    TopK,
    TopP,
    load_balance,
    record_routing,
    router_z,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .routing_blocks import linear
from .routing_chain import glu_from_list, glu_gradients
from .routing_gradients import OUTPUT, compare_gradients, grad


class ScaledUnit(nn.Module):
    """`v / |v| * sqrt(d) * gamma`."""

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma.clone())

    def forward(self, v: Tensor) -> Tensor:
        return F.normalize(v, dim=-1) * v.shape[-1] ** 0.5 * self.gamma


class GEGLU(nn.Module):
    """Linear, value times gelu of the gate (value first), a learned scale, linear."""

    def __init__(
        self, weights: dict[str, Tensor], first: str, last: str, scale: str | None
    ) -> None:
        super().__init__()
        self.names = {"up": first, "down": last}
        self.up = nn.Linear(*weights[f"{first}.weight"].T.shape)
        self.down = nn.Linear(*weights[f"{last}.weight"].T.shape)
        for part, name in self.names.items():
            getattr(self, part).weight.data.copy_(weights[f"{name}.weight"])
            getattr(self, part).bias.data.copy_(weights[f"{name}.bias"])
        self.scale_name = scale
        self.scale = nn.Parameter(weights[scale].clone()) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, -1)
        hidden = F.gelu(gate) * value
        return self.down(hidden if self.scale is None else hidden * self.scale)

    def gradients(self, prefix: str) -> dict[str, Tensor]:
        found = {} if self.scale is None else {f"{prefix}.{self.scale_name}": grad(self.scale)}
        for part, name in self.names.items():
            module = getattr(self, part)
            found[f"{prefix}.{name}.weight"] = grad(module.weight)
            found[f"{prefix}.{name}.bias"] = grad(module.bias)
        return found


def geglu_experts(fixture: Fixture, prefix: str, first: str, last: str, scale: str | None):
    count = len({name.split(".")[2] for name in fixture.weights if name.startswith(prefix)})
    return ModuleExperts(
        [GEGLU(fixture.weights_of(f"{prefix}.{e}"), first, last, scale) for e in range(count)]
    )


@system("soft_moe")
def soft_moe(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("batch", "length", "seed", "loss", "expert_mult"):
        options.get(name)
    dim, count, slots = options["dim"], options["num_experts"], options["slots_per_expert"]
    prefix = "experts.experts"
    if options.get("geglu"):
        experts = geglu_experts(fixture, prefix, "0", "3", None)
    else:
        hidden = len(fixture.weights[f"{prefix}.0.0.bias"])
        experts = MLPExperts(count, dim, hidden, bias=True)
        with torch.no_grad():
            for e in range(count):
                weights = fixture.weights_of(f"{prefix}.{e}")
                experts.up[e], experts.up_bias[e] = weights["0.weight"], weights["0.bias"]
                experts.down[e], experts.down_bias[e] = weights["3.weight"], weights["3.bias"]
    norm = ScaledUnit(fixture.weights["norm.gamma"])
    score = SlotScore(dim, count, slots, slot_norm=ScaledUnit(fixture.weights["slot_norm.gamma"]))
    with torch.no_grad():
        score.embedding.copy_(fixture.weights["slot_embeds"])
    router = Router(score, SoftSlots(slots), activation="identity")
    layer = MoELayer(router, experts)
    x = fixture.input("x").requires_grad_()
    normed = norm(x)
    routing = layer.route(normed)
    shape = (*x.shape[:2], count, slots)
    report.compare("logits", routing.logits.view(shape), OUTPUT)
    report.compare("dispatch", routing.dispatch, OUTPUT)
    report.compare("combine", routing.mix, OUTPUT)
    y = layer(normed)
    report.compare("y", y, OUTPUT)
    (y * fixture.input("grad_output")).sum().backward()
    gradients = {
        "norm.gamma": norm.gamma.grad,
        "slot_norm.gamma": score.slot_norm.gamma.grad,
        "slot_embeds": score.embedding.grad,
    }
    for e in range(count):
        if isinstance(experts, ModuleExperts):
            gradients |= experts.members[e].gradients(f"{prefix}.{e}")
            continue
        for ours, name in (("up", "0"), ("down", "3")):
            gradients[f"{prefix}.{e}.{name}.weight"] = grad(getattr(experts, ours))[e]
            gradients[f"{prefix}.{e}.{name}.bias"] = grad(getattr(experts, f"{ours}_bias"))[e]
    compare_gradients(report, gradients, x)


# The reference counts the first choices that its capacity has left, and divides by all units.
COUNTED: dict[str, Any] = {
    "normalization": "k",
    "per": "sample",
    "first_only": True,
    "count_dropped": False,
}


@system("st_moe")
def st_moe(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("batch", "length", "seed", "loss", "dim", "expert_hidden_mult"):
        options.get(name)
    top, count = options["gating_top_n"], options["num_experts"]
    selection = Capacity(
        RandomDrop(TopK(top), options["threshold"]),
        options["capacity_factor_train"],
        eval_factor=options["capacity_factor_eval"],
        per="sample",
        minimum=4,
    )
    if options.get("straight_through_dispatch_tensor", True):
        selection = StraightThrough(selection)
    experts = geglu_experts(fixture, "experts.experts", "net.0", "net.2", "net.1.mult_bias")
    layer = MoELayer(
        Router(linear(fixture.weights["gate.to_gates.weight"]), selection),
        experts,
        losses=[
            LoadBalance(options["balance_loss_coef"], **COUNTED),
            RouterZ(options["router_z_loss_coef"]),
        ],
    )
    assert experts.num_experts == count
    (
        fixture.weights.pop("gate.threshold_train", None),
        fixture.weights.pop("gate.threshold_eval", None),
    )
    x = fixture.input("x").requires_grad_()
    grad_output = fixture.input("grad_output")
    for mode in ("eval", "train"):
        layer.train(mode == "train")
        with record_routing(layer) as record:
            y = layer(x)
        (routing,) = record.calls[""]
        report.compare(f"{mode}.y", y, OUTPUT)
        dispatched, combined = slots(routing, count)
        shape = (*x.shape[:2], count, routing.aux["capacity"])
        report.exact(f"{mode}.dispatch_mask", dispatched.view(shape))
        report.compare(f"{mode}.combine", combined.view(shape), OUTPUT)
        if mode == "train":
            balance = load_balance([routing], **COUNTED)
            report.compare("router_logits", routing.logits.view(*x.shape[:2], count), OUTPUT)
            report.compare("train.balance_loss", balance.view(1), OUTPUT)
            report.compare("train.router_z_loss", router_z([routing]).view(1), OUTPUT)
            ((y * grad_output).sum() + sum(record.losses().values())).backward()
        else:
            nothing = torch.zeros(1)
            report.compare("eval.balance_loss", nothing, OUTPUT)
            report.compare("eval.router_z_loss", nothing, OUTPUT)
    gate = grad(layer.router.score_function.weight)
    gradients = {"gate": gate, "gate.to_gates.weight": gate}
    for e, member in enumerate(experts.members):
        gradients |= member.gradients(f"experts.experts.{e}")
    compare_gradients(report, gradients, x)


def slots(routing, experts: int) -> tuple[Tensor, Tensor]:
    """Which unit sits in which slot (units, experts, capacity), and with which weight."""
    units, choices = routing.index.shape
    capacity, slot = routing.aux["capacity"], routing.aux["slot"]
    empty = torch.zeros(units, experts * capacity + 1)
    place = torch.where(slot < 0, experts * capacity, routing.index * capacity + slot)
    dispatched = empty.scatter_add(-1, place, torch.ones(units, choices))[:, :-1]
    weight = routing.weight.detach().view(units, choices)
    return dispatched, empty.scatter_add(-1, place, weight)[:, :-1]


SWIGLU = ("w1", "w3", "w2")


def router_cell(fixture: Fixture, hidden: int, kind: str) -> RouterCell:
    """The cell with the reference's separate matrices."""
    cell = RouterCell(hidden, kind=kind)
    weights = fixture.weights_of("rnn_router")
    gates = "rzn" if kind == "gru" else "n"
    with torch.no_grad():
        for side, letter in (("ih", "i"), ("hh", "h")):
            for part in ("weight", "bias"):
                stacked = torch.cat([weights[f"{part}_{letter}{gate}"] for gate in gates])
                getattr(cell.cell, f"{part}_{side}").copy_(stacked)
    return cell


def cell_gradients(cell: RouterCell, kind: str) -> dict[str, Tensor]:
    found = {}
    gates = "rzn" if kind == "gru" else "n"
    for side, letter in (("ih", "i"), ("hh", "h")):
        for part in ("weight", "bias"):
            parts = grad(getattr(cell.cell, f"{part}_{side}")).chunk(len(gates))
            for gate, value in zip(gates, parts, strict=True):
                found[f"rnn_router.{part}_{letter}{gate}"] = value
    return found


@system("rmoe")
def rmoe(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("batch", "length", "seed", "loss", "moe_expert_intermediate_size"):
        options.get(name)
    options.only("moe_router_type", "gru", "rnn")
    kind, dim = options["moe_router_type"], options["hidden_size"]
    cell = router_cell(fixture, options["moe_router_rnn_hidden_size"], kind)
    layers = nn.ModuleList()
    for number in range(options["layers"]):
        prefix = f"layers.{number}"
        score = RecurrentScore(dim, options["num_local_experts"], cell)
        with torch.no_grad():
            score.input_weight.copy_(fixture.weights[f"{prefix}.weight1"])
            score.output_weight.copy_(fixture.weights[f"{prefix}.weight2"])
        shared = None
        if options["add_moe_bias"]:
            shared = SharedExpert(OutputBias(dim))
            shared.module.bias.data.copy_(fixture.weights[f"{prefix}.bias"])
        layers.append(
            MoELayer(
                Router(score, TopK(options["num_experts_per_tok"])),
                glu_from_list(fixture, SWIGLU, f"{prefix}.experts"),
                shared=shared,
                losses=[LoadBalance(0.001, normalization="k", scope="model")],
            )
        )
    x = fixture.input("x").requires_grad_()
    h, state = x, None
    with record_routing(layers.train()) as record:
        for number, layer in enumerate(layers):
            routing = layer.route(h, state=state)
            state = routing.aux["state"]
            out = layer.compute(h, routing)
            report.compare(f"layer{number}.router_logits", routing.logits, OUTPUT)
            report.compare(f"layer{number}.hidden", state, OUTPUT)
            report.compare(f"layer{number}.moe_out", out, OUTPUT)
            h = h + out
    terms = record.losses()
    report.compare("y", h, OUTPUT)
    report.compare("lb_loss", terms["load_balance"] / 0.001, OUTPUT)
    ((h * fixture.input("grad_output")).sum() + sum(terms.values())).backward()
    gradients = cell_gradients(cell, kind)
    for number, layer in enumerate(layers):
        score = layer.router.score_function
        gradients[f"layers.{number}.weight1"] = grad(score.input_weight)
        gradients[f"layers.{number}.weight2"] = grad(score.output_weight)
        gradients |= glu_gradients(layer.experts, SWIGLU, f"layers.{number}.experts")
        if layer.shared is not None:
            gradients[f"layers.{number}.bias"] = grad(layer.shared.module.bias)
    compare_gradients(report, gradients, x)


@system("dynamic_top_p")
def dynamic_top_p(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("batch", "length", "seed", "loss", "hidden_size", "intermediate_size"):
        options.get(name)
    names = ("gate_proj", "up_proj", "down_proj")
    experts = glu_from_list(fixture, names, "experts")
    assert experts.num_experts == options["num_experts"]
    score = linear(fixture.weights["router.weight"])
    layer = MoELayer(Router(score, TopP(options["top_p_threshold"])), experts)
    x = fixture.input("x").requires_grad_()
    routing = layer.route(x)
    y = layer.compute(x, routing)
    shape = (*x.shape[:2], experts.num_experts)
    report.compare("router_logits", routing.logits.view(shape), OUTPUT)
    report.compare("probs", routing.scores.view(shape), OUTPUT)
    index = torch.full((routing.num_units, experts.num_experts), -1)
    weight = torch.zeros(index.shape)
    found = routing.index.masked_fill(~routing.valid, -1)
    index[:, : routing.choices] = found
    weight[:, : routing.choices] = routing.weight.detach().view_as(found)
    report.exact("sorted_index", index.view(shape))
    report.compare("sorted_weights", weight.view(shape), OUTPUT)
    report.exact("num_active", routing.valid.sum(-1).view(shape[:2]))
    report.compare("y", y, OUTPUT)
    (y * fixture.input("grad_output")).sum().backward()
    gradients = {"router.weight": grad(score.weight)} | glu_gradients(experts, names, "experts")
    compare_gradients(report, gradients, x)
