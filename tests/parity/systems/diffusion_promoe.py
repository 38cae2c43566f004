"""ProMoE, token choice and expert choice."""

from functools import partial

import torch
from torch import Tensor

from mixtura.core import CosineScore, ExpertChoice, MoELayer, Router, RoutingContrastive, TopK

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .diffusion_backbone import build, check
from .diffusion_experts import (
    PROMOE_NAMES,
    compare_choices,
    compare_taken,
    layer_gradients,
    mlp_experts,
    shared_expert,
)


def layer(weights: dict[str, Tensor], options, expert_choice: bool) -> MoELayer:
    """The layer with the reference's weights."""
    prototypes = weights["cluster_centers"]
    mode = options["router_weight_mode"]
    if expert_choice:
        normalize = "units" if mode == "softmax" else "none"
        selection = ExpertChoice(options["top_k"], normalize=normalize)
        mode = "identity" if mode == "softmax" else mode
    else:
        selection = TopK(options["top_k"], renormalize="never")
    score = CosineScore(prototypes.shape[1], len(prototypes))
    score.load_state_dict({"prototypes": prototypes})
    router = Router(score, selection, activation=mode, reserved=int(options["use_uncond_expert"]))
    contrast = RoutingContrastive(
        options["routing_contrastive_lam"],
        temperature=options["routing_contrastive_temperature"],
        choices=None if options["use_top_k_for_routing_contrastive"] or expert_choice else 1,
        per_sample=expert_choice,
    )
    experts = mlp_experts(weights, PROMOE_NAMES)
    shared = shared_expert(weights, "shared_expert")
    return MoELayer(router, experts, shared=shared, losses=[contrast])


def gradients(layer: MoELayer) -> dict[str, Tensor]:
    """By the reference's key names."""
    prototypes = layer.router.score_function.prototypes
    experts = layer_gradients(layer, "mlp", "shared_expert", PROMOE_NAMES)
    return {"mlp.cluster_centers": prototypes.grad, **experts}


def observe_tokens(report: Report, prefix: str, routing, layer: MoELayer) -> None:
    logits = report.fixture.get(f"{prefix}.router_logits")
    report.compare(f"{prefix}.router_logits", routing.logits.view_as(logits))
    compare_choices(report, prefix, routing)


def observe_experts(report: Report, prefix: str, routing, layer: MoELayer) -> None:
    logits = report.fixture.get(f"{prefix}.router_logits")
    report.compare(f"{prefix}.router_logits", routing.logits.view_as(logits))
    free = torch.ones(routing.num_units, dtype=torch.bool) if routing.free is None else routing.free
    compare_taken(report, prefix, routing, free.view(routing.num_samples, -1).any(1))


def check_promoe(fixture: Fixture, report: Report, expert_choice: bool) -> None:
    moe = fixture.options["constructor"]["MoE_config"]
    moe.only("load_balance_loss_coef", 0)
    moe.only("init_MoeMLP", False)
    options = moe.plain()
    model = build(fixture, "mlp", partial(layer, options=options, expert_choice=expert_choice))
    observe = observe_experts if expert_choice else observe_tokens
    check(fixture, report, model, gradients, observe)


@system("promoe_tc")
def promoe_token_choice(fixture: Fixture, report: Report) -> None:
    """Token choice."""
    check_promoe(fixture, report, expert_choice=False)


@system("promoe_ec")
def promoe_expert_choice(fixture: Fixture, report: Report) -> None:
    """Expert choice."""
    check_promoe(fixture, report, expert_choice=True)
