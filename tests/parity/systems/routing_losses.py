"""Losses of Switch Transformers and Megatron-Core on given logits."""

import torch
from torch import Tensor

from mixtura.core import (
    LinearScore,
    Positive,
    Router,
    Routing,
    TopK,
    active_scores,
    load_balance,
    router_z,
    sinkhorn,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance
from .routing_gradients import OUTPUT


def passing(experts: int) -> LinearScore:
    """A score function that takes logits for units."""
    score = LinearScore(experts, experts)
    with torch.no_grad():
        score.weight.copy_(torch.eye(experts))
    return score


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits, retain_graph=True)[0]


def close(expected: Tensor) -> Tolerance:
    return Tolerance(max(1e-4 * float(expected.abs().max()), 1e-7), 0.0)


@system("switch_losses")
def switch_losses(fixture: Fixture, report: Report) -> None:
    for name in ("seed", "loss", "batch", "length"):
        fixture.options.get(name)
    logits = fixture.input("router_logits").requires_grad_()
    assert logits.shape[-1] == fixture.options["experts"]
    router = Router(passing(logits.shape[-1]), TopK(1, renormalize="never"))
    routing: Routing = router(logits.flatten(0, 1), num_samples=logits.shape[0])
    report.exact("top1_index", routing.index.view(logits.shape[:2]))
    balance = load_balance([routing], per="sample", first_only=True)
    z = router_z([routing])
    report.compare("lb_loss", balance, OUTPUT)
    report.compare("z_loss", z, OUTPUT)
    name = "grad.router_logits"
    report.compare(name, gradient(0.01 * balance + 0.001 * z, logits), close(fixture.get(name)))


@system("megatron_losses")
def megatron_losses(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    options.get("seed"), options.get("tokens")
    k, experts = options["topk"], options["experts"]
    logits = fixture.input("logits").requires_grad_()
    relu = Router(passing(experts), Positive(), activation="relu")(logits)
    report.compare("relu_probs", relu.dense_weight, OUTPUT)
    report.exact("relu_mask", relu.chosen.float())
    report.compare("relu_sparsity", 1 - relu.counts.sum() / relu.scores.numel(), OUTPUT)
    penalty = active_scores([relu], k)
    report.compare("relu_l1_balanced", penalty, OUTPUT)
    name = "grad.relu_l1"
    report.compare(name, gradient(penalty, logits), close(fixture.get(name)))
    routing = Router(passing(experts), TopK(k))(logits)
    report.exact("softmax_topk_index", routing.index)
    report.exact("tokens_per_expert", routing.counts)
    balance, z = load_balance([routing], normalization="units_k"), router_z([routing])
    report.compare("lb_loss", balance, OUTPUT)
    report.compare("z_loss", z, OUTPUT)
    name = "grad.lb_plus_0.1z"
    report.compare(name, gradient(balance + 0.1 * z, logits), close(fixture.get(name)))
    spread = sinkhorn(logits)
    report.compare("sinkhorn", spread, OUTPUT)
    report.exact("sinkhorn_topk_index", spread.topk(k, -1).indices)
