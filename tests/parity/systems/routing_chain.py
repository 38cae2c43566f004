"""Chain-of-Experts."""

import torch

from mixtura.core import (
    Chain,
    GLUExperts,
    GroupLimit,
    LoadBalance,
    Router,
    SharedExpert,
    TopK,
    record_routing,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .routing_blocks import SharedGLU, activation, linear
from .routing_gradients import OUTPUT, compare_choices, compare_gradients, grad


def glu_from_list(
    fixture: Fixture, names: tuple[str, str, str], prefix: str, **kwargs
) -> GLUExperts:
    """Stacked experts from a list of single ones with the given names for gate, up and down."""
    gate, up, down = names
    single = []
    while f"{prefix}.{len(single)}.{gate}.weight" in fixture.weights:
        single.append(fixture.weights_of(f"{prefix}.{len(single)}"))
    hidden, dim = single[0][f"{gate}.weight"].shape
    experts = GLUExperts(len(single), dim, hidden, **kwargs)
    with torch.no_grad():
        for e, weights in enumerate(single):
            experts.gate_up[e] = torch.cat([weights[f"{gate}.weight"], weights[f"{up}.weight"]])
            experts.down[e] = weights[f"{down}.weight"]
    return experts


def glu_gradients(experts: GLUExperts, names: tuple[str, str, str], prefix: str) -> dict:
    """The gradients of single experts."""
    gate, up, down = names
    found = {}
    for e in range(experts.num_experts):
        halves = grad(experts.gate_up)[e].chunk(2)
        parts = {gate: halves[0], up: halves[1], down: grad(experts.down)[e]}
        found |= {f"{prefix}.{e}.{name}.weight": value for name, value in parts.items()}
    return found


NAMES = ("gate_proj", "up_proj", "down_proj")


@system("coe")
def coe(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("batch", "length", "seed", "loss", "intermediate_size", "save_routing_logits"):
        options.get(name)
    options.only("ep_size", 1)
    options.only("scoring_func", "softmax", "sigmoid")
    options.only("topk_method", "greedy", "group_limited_greedy")
    k, steps = options["num_experts_per_tok"], options["inner_iter"]
    grouped = options.get("topk_method") == "group_limited_greedy"
    groups, keep = options.get("n_group"), options.get("topk_group")
    normalized = options["norm_topk_prob"] and k > 1
    scale = options["routed_scaling_factor"]  # the reference scales what it does not normalise
    selection = TopK(
        k,
        renormalize="always" if normalized else "never",
        scale=1.0 if normalized else scale,
    )
    experts = glu_from_list(fixture, NAMES, "experts", activation=activation(options["hidden_act"]))
    assert experts.num_experts == options["n_routed_experts"]
    assert options["moe_intermediate_size"] == experts.down.shape[-1]
    own = options["use_igate"]
    gates = [f"gate.{t}.weight" for t in range(steps)] if own else ["gate.weight"]
    routers = [
        Router(
            linear(fixture.weights[name]),
            selection,
            activation=options["scoring_func"],
            adjustments=[GroupLimit(groups, keep, score="max")] if grouped else [],
        )
        for name in gates
    ]
    dim, copies = options["hidden_size"], options.get("n_shared_experts") or 0
    shared = None
    if copies:
        hidden = options["moe_intermediate_size"] * copies
        weights = fixture.weights_of("shared_experts")
        shared = SharedExpert(SharedGLU(dim, hidden, activation(options["hidden_act"]), weights))
    per = "sample" if options["seq_aux"] else "batch"
    loss = LoadBalance(options["aux_loss_alpha"], normalization="units_k", per=per)
    chain = Chain(
        routers,
        experts,
        steps=steps,
        shared=shared,
        inner_residual=options["inner_residual"],
        outer="input" if options["outer_residual"] else "none",
        losses=[loss] if loss.weight else [],
    )
    x = fixture.input("x")
    report.compare("eval.y", chain.eval()(x), OUTPUT)
    x.requires_grad_()
    with record_routing(chain.train()) as record:
        y = chain(x)
    terms = record.losses()
    report.compare("train.y", y, OUTPUT)
    state = x
    for t, (name, calls) in enumerate(record.calls.items()):
        (routing,) = calls
        out = chain.steps[t].compute(state, routing)
        state = state + out if chain.inner_residual else out
        report.compare(f"iter{t}.out", state, OUTPUT)
        compare_choices(
            report,
            f"iter{t}.topk_index",
            f"iter{t}.topk_weights",
            routing.chosen,
            routing.dense_weight.detach(),
        )
        if fixture.has(f"train.iter{t}.aux_loss"):
            term = terms.get(f"load_balance/{name}", torch.zeros(()))
            report.compare(f"train.iter{t}.aux_loss", term, OUTPUT)
    ((y * fixture.input("grad_output")).sum() + sum(terms.values())).backward()
    gradients = glu_gradients(experts, NAMES, "experts")
    gradients |= {
        name: grad(router.score_function.weight)
        for name, router in zip(gates, routers, strict=True)
    }
    if shared is not None:
        gradients |= shared.module.gradients("shared_experts")
    compare_gradients(report, gradients, x)
