"""Moirai-MoE: packing, scale, routing, distribution."""

from typing import Any

from torch import Tensor, nn

from mixtura.core import record_routing
from mixtura.forecasting.checkpoints import load_moirai_moe_state, moirai_moe_arguments
from mixtura.forecasting.networks import MoiraiMoE
from mixtura.forecasting.networks.packed_series import PackedSeries, pack_windows

from ..capture import captured
from ..fixture import Fixture
from ..options import Options
from ..registry import system
from ..report import Report

KNOWN = (
    "d_model",
    "d_ff",
    "num_layers",
    "patch_sizes",
    "distr_output",
    "scaling",
    "num_experts",
    "num_experts_per_token",
    "attn_dropout_p",
    "dropout_p",
)
PARTS = ("in_proj", "feat_proj", "res_proj")


@system("moirai-moe")
def check(fixture: Fixture, report: Report) -> None:
    """Everything from the raw look-back to the density, at tokens that are no padding."""
    network = build(fixture.options)
    load_moirai_moe_state(network, fixture.weights)
    network.eval()
    packed = check_packing(network, fixture, report)
    real = packed.sample_id > 0
    loc, scale = network.statistics(packed)
    # without scaling the reference keeps a zero and a one for every value of a patch
    report.compare("loc", loc.expand_as(fixture.get("loc")))
    report.compare("scale", scale.expand_as(fixture.get("scale")))
    size = fixture.input("patch_size").long()
    parts: dict[str, nn.Module] = {name: network.get_submodule(name) for name in PARTS}
    parts["encoder_out"] = network.norm
    for depth, block in enumerate(network.blocks):
        parts[f"layer.{depth}.attn"] = block.attention
        parts[f"layer.{depth}.ffn_in"] = block.mixture_norm
        parts[f"layer.{depth}.ffn_out"] = block.mixture
        parts[f"layer.{depth}.out"] = block
    with record_routing(network) as record, captured(parts) as outputs:
        distribution = network(packed, size)
    for name, output in outputs.items():
        report.compare(name, output, where=real)
    rows = real.flatten()
    for depth, (routing,) in enumerate(record.calls.values()):
        report.compare(f"layer.{depth}.gate_distance", routing.logits, where=rows)
        report.exact(f"layer.{depth}.topk_experts", routing.index, where=rows)
        weights = routing.weight.view_as(routing.index)
        report.compare(f"layer.{depth}.topk_weights", weights, where=rows)
    check_mixture(network, outputs["encoder_out"], size, real, report)
    report.compare("distribution_mean", distribution.mean, where=real)
    report.compare("log_prob_of_target", distribution.log_prob(packed.target), where=real)


def build(options: Options) -> MoiraiMoE:
    """The network that the options describe; rotary angles have no longest sequence here."""
    options.only("max_seq_len", *range(1, 1 << 16))
    config: dict[str, Any] = {name: options[name] for name in KNOWN if name in options}
    return MoiraiMoE(**moirai_moe_arguments(config))


def check_packing(network: MoiraiMoE, fixture: Fixture, report: Report) -> PackedSeries:
    """The tokens made from the raw series."""
    future = fixture.input("future_target").transpose(1, 2)
    size = int(fixture.input("patch_size").max())
    packed = pack_windows(
        fixture.input("past_target").transpose(1, 2),
        future.shape[-1],
        size,
        max_patch_width=network.patch_width,
        observed=fixture.input("past_observed_target").transpose(1, 2),
        padding=fixture.input("past_is_pad"),
        future=future,
        known=covariates(fixture, "feat_dynamic_real", "observed_feat_dynamic_real"),
        past_only=covariates(fixture, "past_feat_dynamic_real", "past_observed_feat_dynamic_real"),
    )
    names = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")
    for name, actual in zip(names, packed, strict=True):
        report.exact(name, actual)
    return packed


def covariates(fixture: Fixture, values: str, observed: str) -> Tensor | None:
    """Further variates, NaN where they were not observed."""
    if not fixture.has(values):
        return None
    found = fixture.input(values).transpose(1, 2)
    if not fixture.has(observed):
        return found
    return found.masked_fill(~fixture.input(observed).bool().transpose(1, 2), float("nan"))


def check_mixture(
    network: MoiraiMoE, hidden: Tensor, size: Tensor, real: Tensor, report: Report
) -> None:
    """Parameters in scaled space."""
    weights, parameters = network.head.parameters_of(hidden, size)
    report.compare("mixture.weights_logits", weights.log_softmax(-1), where=real)
    for name, component in zip(network.head.names, parameters, strict=True):
        shown = "normal_fixed" if name == "normal_fixed_scale" else name
        for key, value in component.items():
            report.compare(f"mixture.{shown}.{key}", value, where=real)
