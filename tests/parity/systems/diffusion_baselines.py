"""TC-DiT, EC-DiT and DiT-MoE."""

from torch import Tensor

from mixtura.core import ExpertChoice, LinearScore, LoadBalance, MoELayer, Router, TopK

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .diffusion_backbone import build, check
from .diffusion_experts import (
    MLP_NAMES,
    compare_choices,
    compare_taken,
    ffn_experts,
    layer_gradients,
    shared_expert,
)


def linear_score(weight: Tensor) -> LinearScore:
    score = LinearScore(weight.shape[1], len(weight))
    score.load_state_dict({"weight": weight})
    return score


def observe_choices(report: Report, prefix: str, routing, layer: MoELayer) -> None:
    report.compare(f"{prefix}.router_logits", routing.logits)
    compare_choices(report, prefix, routing)


def token_choice(fixture: Fixture, report: Report, slot: str, k: int) -> None:
    """Softmax, top-k, weights as they are, and a load-balance loss."""

    def make(weights: dict[str, Tensor]) -> MoELayer:
        router = Router(linear_score(weights["gate.weight"]), TopK(k, renormalize="never"))
        shared = shared_expert(weights, "shared_experts")
        return MoELayer(router, ffn_experts(weights), shared=shared, losses=[LoadBalance(0.01)])

    def gradients(layer: MoELayer) -> dict[str, Tensor]:
        experts = layer_gradients(layer, slot, "shared_experts", MLP_NAMES)
        return {f"{slot}.gate.weight": layer.router.score_function.weight.grad, **experts}

    check(fixture, report, build(fixture, slot, make), gradients, observe_choices)


@system("tcdit")
def tcdit(fixture: Fixture, report: Report) -> None:
    """Token choice in the odd blocks."""
    options = fixture.options["constructor"]["MoE_config"]
    options.only("init_MoeMLP", False)
    token_choice(fixture, report, "mlp", options["capacity"])


@system("ditmoe")
def ditmoe(fixture: Fixture, report: Report) -> None:
    """Token choice and a shared expert in all blocks."""
    token_choice(fixture, report, "moe", fixture.options["constructor"]["num_experts_per_tok"])


@system("ecdit")
def ecdit(fixture: Fixture, report: Report) -> None:
    """Expert choice in each sample."""
    options = fixture.options["constructor"]["MoE_config"]
    options.only("init_MoeMLP", False)
    capacity = options["capacity"]

    def make(weights: dict[str, Tensor]) -> MoELayer:
        router = Router(linear_score(weights["gate_weight"]), ExpertChoice(capacity))
        return MoELayer(
            router, ffn_experts(weights), shared=shared_expert(weights, "shared_experts")
        )

    def gradients(layer: MoELayer) -> dict[str, Tensor]:
        experts = layer_gradients(layer, "mlp", "shared_experts", MLP_NAMES)
        return {"mlp.gate_weight": layer.router.score_function.weight.grad, **experts}

    def observe(report: Report, prefix: str, routing, layer: MoELayer) -> None:
        scores = routing.scores.unflatten(0, (routing.num_samples, -1)).transpose(1, 2)
        report.compare(f"{prefix}.router_scores", scores)
        compare_taken(report, prefix, routing, slice(None))

    check(fixture, report, build(fixture, "mlp", make), gradients, observe)
