"""MoHETS: whole models and single layers."""

from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core import LoadBalance, moe_layers, record_routing
from mixtura.forecasting.checkpoints import load_into, mohets_rules, network_rules
from mixtura.forecasting.networks import MoHETS
from mixtura.forecasting.networks.feed_forward import make_feed_forward
from mixtura.forecasting.networks.fourier import FourierFeedForward, FourierLayer

from ..capture import captured
from ..fixture import Fixture
from ..gradients import gradient_norms
from ..options import Options, UnknownOption
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

FORECAST = Tolerance(1e-4, 1e-3)
GRADIENTS = Tolerance(1e-7, 1e-3)


@system("mohets")
def check_model(fixture: Fixture, report: Report) -> None:
    """Every intermediate, the losses, the forecasts and the gradients."""
    options = fixture.options
    network = MoHETS(**model_arguments(options))
    rules = mohets_rules(
        network,
        shared_kind=options.get("ffn_type", "dwconv"),
        head_kind=options.get("output_head_type", "mlp"),
    )
    constants = ".ropenc.inv_freq"
    weights = {k: v for k, v in fixture.weights.items() if not k.endswith(constants)}
    load_into(network, rules, weights)
    x, target = fixture.input("x"), fixture.input("target")
    marks = fixture.input("x_mark") if fixture.has("x_mark") else None
    network.eval()
    check_forward(network, x, marks, target, options, report)
    if "y_hat_no_covariates" in fixture.expected:
        report.compare("y_hat_no_covariates", network(x))
    future = fixture.input("future_mark") if fixture.has("future_mark") else None
    for name in report.names("forecast."):
        _, horizon, kind = name.split(".")
        both = None
        if kind == "with_marks" and marks is not None and future is not None:
            both = torch.cat((marks, future), -1)
        report.compare(name, network.forecast(x, int(horizon), both), FORECAST)
    if "train.total_loss" in fixture.expected:
        network.train()
        experts = moe_layers(network)
        loss, terms = None, {}
        if experts:
            with record_routing(network) as record:
                loss = huber(network(x, marks), target, options)
            terms = record.losses()
        else:
            loss = huber(network(x, marks), target, options)
        total = loss + sum(terms.values(), torch.zeros(()))
        total.backward()
        report.compare("train.total_loss", total)
        norms = gradient_norms(network, rules, options["_grad_norm_order"])
        report.compare("train.grad_norms", norms, GRADIENTS)


def check_forward(
    network: MoHETS,
    x: Tensor,
    marks: Tensor | None,
    target: Tensor,
    options: Options,
    report: Report,
) -> None:
    """One pass: tokens after each part, routings, output and losses."""
    parts: dict[str, nn.Module] = {"embedding": network.embedding, "final_norm": network.norm}
    if network.covariates is not None and marks is not None:
        parts["covariate_fused_series"] = network.covariates.fusion
        parts["covariate_embedding"] = network.covariates
    layers = moe_layers(network)
    for depth, block in enumerate(network.blocks):
        parts[f"block.{depth}.self_attn"] = block.attention
        if block.cross_attention is not None and marks is not None:
            parts[f"block.{depth}.cross_attn"] = block.cross_attention
        parts[f"block.{depth}.mohe"] = block.mixture
        parts[f"block.{depth}.out"] = block
        shared = getattr(block.mixture, "shared", None)
        parts[f"block.{depth}.shared_expert"] = block.mixture if shared is None else shared.module
    with captured(parts) as outputs:
        if layers:
            with record_routing(network) as record:
                y = network(x, marks)
        else:
            y = network(x, marks)
    for name, output in outputs.items():
        report.compare(name, output)
    report.compare("y_hat", y)
    delta = options.get("_huber_delta", 2.0)
    report.compare(f"huber_loss.delta{delta:g}", huber(y, target, options))
    if not layers:
        return
    for depth, calls in enumerate(record.calls.values()):
        routing = calls[0]
        report.compare(f"block.{depth}.router_logits", routing.logits)
        report.exact(f"block.{depth}.topk_experts", routing.index)
        report.compare(f"block.{depth}.topk_weights", routing.weight.view_as(routing.index))
    (balance,) = record.losses().values()
    report.compare(f"aux_loss.alpha{options.get('_aux_alpha', 0.02)}", balance)


def huber(y: Tensor, target: Tensor, options: Options) -> Tensor:
    """The training loss without the balance term."""
    return nn.functional.huber_loss(y, target, delta=options.get("_huber_delta", 2.0))


def model_arguments(options: Options) -> dict[str, Any]:
    """Our names for the reference's options."""
    for name in ("n_outputs", "mask_type"):  # neither shapes the forecaster
        options.get(name)
    options.only("forecasting", True)
    options.only("mask_ratio", 0, 0.0)
    options.only("diff_attn", False)
    options.only("cls_token", False)
    options.only("flash_attn", True, False)
    linear = options.get("fine_tune", True)
    head = options.get("output_head_type", "mlp")
    experts = options.get("n_experts", 8)
    kinds = options.get("experts_type", "fan")
    return {
        "context_length": options["block_size"],
        "num_variates": options["channels"],
        "patch_width": options["patch_width"],
        "width_factor": options["width_factor"],
        "num_layers": options["n_layer"],
        "dim": options["d_model"],
        "num_heads": options["n_heads"],
        "num_kv_heads": options["n_kv_heads"],
        "hidden_dim": options["d_ff"],
        "num_experts": experts,
        "top_k": min(options.get("top_k_experts", 2), max(experts, 1)),
        "experts": kinds[:experts] if isinstance(kinds, list) else kinds,
        "shared_expert": options.get("ffn_type", "dwconv"),
        "glu": options.get("glu", False),
        "covariates": options.get("multi_modal", True),
        "dropout": options.get("dropout", 0.0),
        "drop_path": options.get("drop_path", 0.0),
        "norm": options.get("norm_type", "rms").lower(),
        "embedding_norm": options.get("emb_norm_type", "layer").lower(),
        "bias": options.get("bias", False),
        "rope_theta": max(0.0, options.get("rope_theta", 10000.0)),
        "qk_norm": options.get("use_qk_norm", False),
        "head_gate": options.get("headwise_attn_gate", False),
        "causal": options.get("is_causal", False),
        "head": {"fan": "fan_layer"}.get(head, "linear") if linear else head,
        # the reference knows the linear head by this one word and takes the other for all else
        "unpatch": "linear" if options.get("unpatch", "conv") == "linear" else "conv",
        "head_dropout": options.get("output_head_dropout", 0.0),
        "instance_norm": options.get("use_input_norm", True),
        "balance": LoadBalance(options.get("_aux_alpha", 0.02), normalization="k", scope="model"),
    }


@system("mohets-layers")
def check_layers(fixture: Fixture, report: Report) -> None:
    """Single networks on one input; their sizes are those of their weights."""
    x = fixture.input("x")
    dim = x.shape[-1]
    for name in fixture.options:
        if name.startswith("_"):
            continue
        described = fixture.options[name]
        weights = fixture.weights_of(name)
        glu = "gate_proj" in described or "gate_conv" in described
        bias = any(key.endswith("bias") for key in weights)
        kind = described.split("(")[0]
        if kind == "FANLayer":
            out = 2 * len(weights["Wp.weight"]) + len(weights["Wp_bar.weight"])
            network: nn.Module = FourierLayer(
                dim, out, gate="gate" in weights, bias=bias, last="Identity()" in described
            )
        elif kind == "FANFeedForward":
            first = [weights[f"up_fan.{part}.weight"] for part in ("Wp", "Wp_bar")]
            hidden = 2 * len(first[0]) + len(first[1])
            gate = "up_fan.gate" in weights
            network = FourierFeedForward(dim, hidden, glu=glu, gate=gate, bias=bias)
        elif kind in ("DwConvFeedForward", "ConvFeedForward", "FeedForward"):
            names = {"DwConvFeedForward": "dwconv", "ConvFeedForward": "conv", "FeedForward": "mlp"}
            up = next(k for k in ("pw_conv", "up_conv", "up_proj") if f"{k}.weight" in weights)
            hidden = len(weights[f"{up}.weight"])
            network = make_feed_forward(names[kind], dim, hidden, glu=glu, bias=bias)
        else:
            raise UnknownOption(f"{name}: {kind} is no layer this check follows")
        shared = {"DwConvFeedForward": "dwconv", "ConvFeedForward": "conv"}.get(kind, "mlp")
        load_into(network, network_rules("", "", network, shared), weights)
        network.eval()
        report.compare(f"{name}.y", network(x))
