"""Seg-MoE: whole models and single layers."""

import re
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core import LoadBalance, Record, moe_layers, record_routing
from mixtura.forecasting.checkpoints import load_into, mixture_rules, seg_moe_rules
from mixtura.forecasting.networks import SegMoE, segment_mixture

from ..capture import captured
from ..fixture import Fixture
from ..gradients import gradient_norms
from ..options import Options, UnknownOption
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

FORECAST = Tolerance(1e-4, 1e-3)
GRADIENTS = Tolerance(1e-7, 1e-3)


@system("seg-moe")
def check_model(fixture: Fixture, report: Report) -> None:
    """Every intermediate, the losses, the forecasts and the gradients."""
    options = fixture.options
    network = SegMoE(**model_arguments(options))
    shared = options.get("ffn_type", "mlp")
    rules = seg_moe_rules(
        network, shared_kind=shared, head_kind=options.get("output_head_type", "mlp")
    )
    load_into(network, rules, fixture.weights)
    x, target = fixture.input("x"), fixture.input("target")
    network.eval()
    check_forward(network, x, target, options, report)
    if fixture.has("y_hat_short"):
        report.compare("y_hat_short", network(fixture.input("x_short")))
    check_forecasts(network, fixture, report)
    if "train.total_loss" in fixture.expected:
        network.train()
        y, record = observed(network, x)
        terms = {} if record is None else record.losses()
        total = huber(y, target, options) + sum(terms.values(), torch.zeros(()))
        total.backward()
        report.compare("train.total_loss", total)
        norms = gradient_norms(network, rules, options["_grad_norm_order"])
        report.compare("train.grad_norms", norms, GRADIENTS)


def check_forward(
    network: SegMoE, x: Tensor, target: Tensor, options: Options, report: Report
) -> None:
    """One pass: tokens after each part, routings, output and losses."""
    parts: dict[str, nn.Module] = {"embedding": network.embedding, "final_norm": network.norm}
    for depth, block in enumerate(network.blocks):
        parts[f"block.{depth}.attn"] = block.attention
        parts[f"block.{depth}.moe"] = block.mixture
        parts[f"block.{depth}.out"] = block
    with captured(parts) as outputs:
        y, record = observed(network, x)
    for name, output in outputs.items():
        report.compare(name, output)
    report.compare("y_hat", y)
    delta = options.get("_huber_delta", 2.0)
    report.compare(f"huber_loss.delta{delta:g}", huber(y, target, options))
    if record is None:
        return
    temperature = options.get("exp_route_temperature", 1.0)
    for (layer_name, calls), depth in zip(record.calls.items(), range(len(parts)), strict=False):
        assert f"blocks.{depth}." in f"{layer_name}."
        routing = calls[0]
        report.compare(f"block.{depth}.router_logits", routing.logits * temperature)
        report.compare(f"block.{depth}.router_probs", routing.scores)
        report.exact(f"block.{depth}.topk_experts", routing.index)
        report.compare(f"block.{depth}.topk_weights", routing.weight.view_as(routing.index))
    (balance,) = record.losses().values()
    report.compare(f"aux_loss.alpha{options.get('_aux_alpha', 0.02)}", balance)


def observed(network: SegMoE, x: Tensor) -> tuple[Tensor, Record | None]:
    """The output, and the routings of a model that has experts."""
    if not moe_layers(network):
        return network(x), None
    with record_routing(network) as record:
        y = network(x)
    return y, record


def check_forecasts(network: SegMoE, fixture: Fixture, report: Report) -> None:
    """`forecast.H.dynamic_window_(true|false)`, from the long or the short context."""
    for name in report.names("forecast"):
        source, horizon, window = name.split(".")
        if source not in ("forecast", "forecast_short"):
            continue
        network.dynamic_window = window.endswith("true")
        past = fixture.input("x" if source == "forecast" else "x_short")
        report.compare(name, network.forecast(past, int(horizon)), FORECAST)


def huber(y: Tensor, target: Tensor, options: Options) -> Tensor:
    """The training loss without the balance term."""
    return nn.functional.huber_loss(y, target, delta=options.get("_huber_delta", 2.0))


def model_arguments(options: Options) -> dict[str, Any]:
    """Our names for the reference's options."""
    for name in ("channels", "n_outputs"):  # neither shapes the weights of the forecaster
        options.get(name)
    options.only("forecasting", True)
    options.only("mask_ratio", 0, 0.0)
    options.only("diff_attn", False)
    options.only("experts_type", "mlp", ["mlp"] * options.get("n_experts", 8))
    options.only("flash_attn", True, False)
    segments = options.get("exp_segment_size", 1)
    layers, experts = options["n_layer"], options.get("n_experts", 8)
    linear = options.get("fine_tune", True)
    head = options.get("output_head_type", "mlp")
    return {
        "context_length": options["block_size"],
        "patch_width": options["patch_width"],
        "width_factor": options["width_factor"],
        "num_layers": layers,
        "dim": options["d_model"],
        "num_heads": options["n_heads"],
        "num_kv_heads": options["n_kv_heads"],
        "hidden_dim": options["d_ff"],
        "segment_sizes": segments[:layers] if isinstance(segments, list) else segments,
        "num_experts": experts,
        "top_k": min(options.get("top_k_experts", 1), max(experts, 1)),
        "expert_granularity": options.get("expert_granularity", "token"),
        "renormalize": renormalize(options),
        "shared_expert": options.get("ffn_type", "mlp"),
        "glu": options.get("glu", False),
        "router_temperature": options.get("exp_route_temperature", 1.0),
        "router_dropout": options.get("exp_route_dropout", 0.0),
        "dropout": options.get("dropout", 0.0),
        "drop_path": options.get("drop_path", 0.0),
        "norm": options.get("norm_type", "rms").lower(),
        "embedding_norm": options.get("emb_norm_type", "layer").lower(),
        "bias": options.get("bias", False),
        "rope_theta": max(0.0, options.get("rope_theta", 10000.0)),
        "qk_norm": options.get("use_qk_norm", False),
        "head_gate": options.get("headwise_attn_gate", False),
        "causal": options.get("is_causal", False),
        "head": "linear" if linear else head,
        # the reference knows the linear head by this one word and takes the other for all else
        "unpatch": "linear" if options.get("unpatch", "conv") == "linear" else "conv",
        "head_dropout": options.get("output_head_dropout", 0.0),
        "instance_norm": options.get("use_input_norm", True),
        "balance": LoadBalance(options.get("_aux_alpha", 0.02), normalization="one", scope="model"),
        "loss_region": options.get("loss_region", "all"),
    }


def renormalize(options: Options) -> str:
    """When the weights of the chosen experts are divided by their sum."""
    names = {"never": "never", "always": "always", "only_if_k>1": "if_k>1", "if_k>1": "if_k>1"}
    return names[options.get("renormalize", "if_k>1")]


@system("seg-moe-layers")
def check_layers(fixture: Fixture, report: Report) -> None:
    """Layer variants on one input."""
    x = fixture.input("x")
    for name in fixture.options:
        if name.startswith("_"):
            continue
        options = fixture.options[name]
        layer = segment_mixture(**layer_arguments(name, options))
        shared = options.get("ffn_type", "mlp")
        weights = fixture.weights_of(name)
        if options.get("exp_segment_size", 1) == 1:
            # the reference's segment layer keeps its reshapes, and their names, for one token too
            weights = {re.sub(r"^(experts\.\d+)\.1\.", r"\1.", k): v for k, v in weights.items()}
        load_into(layer, mixture_rules("", "", layer, shared), weights)
        layer.eval()
        if f"{name}.router_probs" in fixture.expected or (
            f"{name}.router_logits" in fixture.expected
        ):
            with record_routing(layer) as record:
                y = layer(x)
            (routing,) = next(iter(record.calls.values()))
            temperature = options.get("exp_route_temperature", 1.0)
            values = {"router_probs": routing.scores, "router_logits": routing.logits * temperature}
            for kind, value in values.items():
                if f"{name}.{kind}" in fixture.expected:
                    report.compare(f"{name}.{kind}", value)
        else:
            y = layer(x)
        report.compare(f"{name}.y", y)


def layer_arguments(name: str, options: Options) -> dict[str, Any]:
    """Our arguments for a layer class of the reference."""
    kinds = {
        "MoESegment": "token",
        "MoESegmentV1": "projected",
        "MoESegmentV0": "segment",
        "MoEFeedForward": "token",
    }
    described = options["cls"]
    kind = described.split()[0]
    if kind not in kinds:
        raise UnknownOption(f"{name}: layer class {kind} is none of {', '.join(kinds)}")
    options.only("experts_type", "mlp")
    experts = options["n_experts"]
    always = "renormalised also at top_k=1" in described or name.startswith("legacy")
    return {
        "dim": options["d_model"],
        "hidden_dim": options["d_ff"],
        "segment_size": options.get("exp_segment_size", 1),
        "num_experts": experts,
        "top_k": min(options["top_k"], max(experts, 1)),
        "granularity": kinds[kind],
        "shared": options.get("ffn_type", "mlp"),
        "glu": options.get("glu", False),
        "bias": options.get("bias", False),
        "dropout": options.get("dropout", 0.0),
        "router_dropout": options.get("exp_route_dropout", 0.0),
        "temperature": options.get("exp_route_temperature", 1.0),
        "renormalize": "always" if always else "if_k>1",
    }
