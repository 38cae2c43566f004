"""Routers of Megatron-Core and torchtitan without experts."""

from torch import Tensor

from mixtura.core import (
    BalanceBias,
    BiasBalance,
    Capacity,
    GroupLimit,
    LayerStatistics,
    Router,
    TopK,
    load_balance,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .routing_blocks import linear
from .routing_gradients import OUTPUT, compare_choices
from .routing_losses import close, gradient, passing


def megatron_router(
    experts: int, k: int, *, activation: str, post: bool, scale: float, adjustments: list
) -> Router:
    """Megatron's three score functions."""
    unbiased = "softmax" if post else "never"
    renormalize = "if_k>1" if activation == "sigmoid" else unbiased
    return Router(
        passing(experts),
        TopK(k, renormalize=renormalize, scale=scale),
        activation="identity" if post else activation,
        adjustments=adjustments,
    )


@system("megatron_routing")
def megatron_routing(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("seed", "loss", "row_order"):
        options.get(name)
    experts, k, batch = options["experts"], options["topk"], options["batch"]
    activation = options["score_function"]
    options.only("score_function", "sigmoid", "softmax")
    logits = fixture.input("logits").requires_grad_()
    assert logits.shape[0] == batch * options["seq_length"]
    adjustments: list = []
    if fixture.has("expert_bias"):
        bias = BalanceBias(experts)
        bias.bias.copy_(fixture.input("expert_bias"))
        adjustments.append(bias)
    if options.get("num_groups"):
        groups, keep = options["num_groups"], options["group_topk"]
        adjustments.append(GroupLimit(groups, keep, score="topk_over_groups", k=k))
    else:
        options.get("group_topk")
    scale = options.get("scaling_factor") or 1.0
    for name in ("sigmoid", "pre", "post"):
        if not fixture.has(f"{name}.map"):
            continue
        router = megatron_router(
            experts,
            k,
            activation=activation,
            post=name == "post",
            scale=scale,
            adjustments=adjustments,
        )
        routing = router(logits)
        report.exact(f"{name}.map", routing.chosen.float())
        report.compare(f"{name}.probs", routing.dense_weight, OUTPUT)
    plain = {"activation": activation, "post": False, "scale": 1.0, "adjustments": []}
    router = megatron_router(experts, k, **plain)
    routing = router(logits)
    if fixture.has("drop.in_map"):
        report.exact("drop.in_map", routing.chosen.float())
        report.compare("drop.in_probs", routing.dense_weight, OUTPUT)
        policy = {"probs": "weight", "position": "tied"}[options["drop_policy"]]
        limited = Capacity(
            router.selection, options["capacity_factor"], rule="choices", policy=policy
        )
        dropped = Router(passing(experts), limited, activation=activation)(logits)
        report.exact("drop.out_map", dropped.chosen.float())
        report.compare("drop.out_probs", dropped.dense_weight, OUTPUT)
    share = "share" if activation == "sigmoid" else "scores"
    scores = routing.scores
    report.compare(
        "aux.scores", scores / scores.sum(-1, keepdim=True) if share == "share" else scores, OUTPUT
    )
    report.exact("aux.map", routing.chosen.float())
    kwargs = {"normalization": "units_k", "scores": share, "recount": k}
    whole = load_balance([routing], **kwargs)
    rows = logits.unflatten(0, (-1, batch)).transpose(0, 1).flatten(0, 1)
    by_sequence = router(rows, num_samples=batch)
    sequences = load_balance([by_sequence], per="sample", **kwargs)
    report.compare("aux.batch_loss", whole, OUTPUT)
    report.compare("aux.seq_loss", sequences, OUTPUT)
    expected = fixture.get("grad.logits")
    report.compare("grad.logits", gradient(whole + 0.5 * sequences, logits), close(expected))


@system("titan_router")
def titan_router(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    for name in ("seed", "loss", "tokens", "dim"):
        options.get(name)
    options.only("score_func", "sigmoid", "softmax")
    experts, k = options["num_experts"], options["top_k"]
    bias = BalanceBias(experts)
    bias.bias.copy_(fixture.input("expert_bias"))
    groups = []
    if options.get("num_expert_groups"):
        groups = [GroupLimit(options["num_expert_groups"], options["num_limited_groups"])]
    else:
        options.get("num_limited_groups")
    selection = TopK(
        k,
        renormalize="always" if options["route_norm"] else "never",
        scale=options["route_scale"],
    )
    score = linear(fixture.weights["gate.weight"])
    kwargs = {"activation": options["score_func"]}
    router = Router(score, selection, adjustments=[bias, *groups], **kwargs)
    x = fixture.input("x").requires_grad_()
    routing = router(x)
    report.compare("scores", routing.scores, OUTPUT)
    unbiased = Router(score, selection, adjustments=groups, **kwargs)(x)
    index = fixture.get("topk_ids")
    weight = routing.dense_weight.gather(-1, index)
    loss = (weight * fixture.input("grad_output")).sum()
    loss.backward()
    compare_choices(
        report, "topk_ids", "topk_scores", routing.chosen, routing.dense_weight.detach()
    )
    compare_choices(
        report,
        "topk_ids_nobias",
        "topk_scores_nobias",
        unbiased.chosen,
        unbiased.dense_weight.detach(),
    )
    report.exact("tokens_per_expert", routing.counts.float())
    controller = BiasBalance(options["load_balance_coeff"], zero_mean=True)
    controller.step({"": router}, {"": LayerStatistics.of([routing])})
    report.compare("new_expert_bias", bias.bias, OUTPUT)
    pairs: list[tuple[str, Tensor]] = [("grad.x", x.grad), ("grad.gate.weight", score.weight.grad)]
    for name, value in pairs:
        report.compare(name, value, close(fixture.get(name)))
