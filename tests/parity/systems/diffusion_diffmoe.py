"""DiffMoE."""

import torch
from torch import Tensor

from mixtura.core import CapacityPrediction, CapacityPredictor, MoELayer, PoolChoice, Router

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .diffusion_backbone import build, check
from .diffusion_baselines import linear_score
from .diffusion_experts import MLP_NAMES, ffn_experts, layer_gradients, shared_expert

PREDICTOR = {"hidden": "capacity_predictor.0", "output": "capacity_predictor.2"}


def layer(weights: dict[str, Tensor], capacity: float, loss_weight: float) -> MoELayer:
    """The layer with the reference's weights."""
    gate = weights["gate_weight"]
    score = CapacityPredictor(linear_score(gate), gate.shape[1])
    for name, key in PREDICTOR.items():
        parts = {part: weights[f"{key}.{part}"] for part in ("weight", "bias")}
        score.get_submodule(name).load_state_dict(parts)
    selection = PoolChoice(len(gate), capacity, decay=float(weights["ema_decay"]))
    selection.load_state_dict({"threshold": weights["expert_threshold"]})
    return MoELayer(
        Router(score, selection),
        ffn_experts(weights),
        shared=shared_expert(weights, "shared_experts"),
        losses=[CapacityPrediction(loss_weight)],
    )


def gradients(layer: MoELayer) -> dict[str, Tensor]:
    """By the reference's key names."""
    score = layer.router.score_function
    found = {"mlp.gate_weight": score.score.weight.grad}
    for name, key in PREDICTOR.items():
        part = score.get_submodule(name)
        found |= {f"mlp.{key}.weight": part.weight.grad, f"mlp.{key}.bias": part.bias.grad}
    return found | layer_gradients(layer, "mlp", "shared_experts", MLP_NAMES)


def observe(report: Report, prefix: str, routing, layer: MoELayer) -> None:
    capacity = routing.aux["capacity_logits"]
    report.compare(f"{prefix}.router_scores", routing.scores)
    report.compare(f"{prefix}.capacity_prob", capacity.sigmoid())
    report.compare(f"{prefix}.threshold_after", layer.router.selection.threshold)
    if prefix.startswith("eval"):
        report.exact(f"{prefix}.tokens_per_expert", routing.counts)
        return
    samples = (routing.num_samples, -1)
    report.compare(f"{prefix}.capacity_logits", capacity.unflatten(0, samples))
    report.exact(f"{prefix}.selected_mask", routing.chosen.unflatten(0, samples))
    block = prefix.removeprefix("train.block")
    name = f"buf_after_train.blocks.{block}.mlp.expert_threshold"
    report.compare(name, layer.router.selection.threshold)


@system("diffmoe")
def diffmoe(fixture: Fixture, report: Report) -> None:
    """Choice from the pool, with a capacity predictor."""
    options = fixture.options["constructor"]
    moe = options["MoE_config"]
    moe.only("init_MoeMLP", False)
    capacity, loss_weight = moe["capacity"], options["CapacityPred_loss_weight"]
    model = build(fixture, "mlp", lambda weights: layer(weights, capacity, loss_weight))
    terms = check(fixture, report, model, gradients, observe, loss_counts=["capacity_prediction"])
    total = torch.stack(list(terms.values())).sum()
    report.compare("train.capacity_loss_weighted_sum", total[None])
