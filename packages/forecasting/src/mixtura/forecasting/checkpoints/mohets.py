"""Names of MoHETS' tensors in the released implementation."""

from torch import nn

from mixtura.core import GLUExperts, MLPExperts, ModuleExperts, MoELayer
from mixtura.forecasting.checkpoints.seg_moe import (
    FOURIER,
    attention_rules,
    expert_rules,
    feed_forward_rules,
    fourier_rules,
    head_rules,
    same,
)
from mixtura.forecasting.checkpoints.state_map import Rule, rename, stack_pairs
from mixtura.forecasting.networks.fourier import FourierExperts, FourierFeedForward, FourierLayer
from mixtura.forecasting.networks.heterogeneous_mixture import SharedKind
from mixtura.forecasting.networks.mohets import MoHETS


def mohets_rules(
    network: MoHETS, *, shared_kind: SharedKind = "dwconv", head_kind: SharedKind = "mlp"
) -> list[Rule]:
    """All tensors of a model but the rotary frequencies (`ropenc.inv_freq`), which are constants.

    Args:
        network: our model, built with the checkpoint's options.
        shared_kind: kind of its shared expert.
        head_kind: kind of its head where that is not linear.
    """
    rules = same("embedding.project", "t_embedding.embed", network.embedding.project)
    rules += same("embedding.norm", "t_embedding.norm", network.embedding.norm)
    if network.covariates is not None:
        ours, theirs = "covariates.fusion", "c_embedding.covariates"
        fusion, patches = network.covariates.fusion, network.covariates.embedding
        rules += same(f"{ours}.data", f"{theirs}.proj_data", fusion.data)
        rules += same(f"{ours}.time", f"{theirs}.proj_time", fusion.time)
        rules += same(f"{ours}.fuse", f"{theirs}.fuse", fusion.fuse)
        ours, theirs = "covariates.embedding", "c_embedding.patchfy"
        rules += same(f"{ours}.project", f"{theirs}.embed", patches.project)
        rules += same(f"{ours}.norm", f"{theirs}.norm", patches.norm)
    for depth, block in enumerate(network.blocks):
        ours, theirs = f"blocks.{depth}", f"backbone.transformer.{depth}"
        rules += same(f"{ours}.attention_norm", f"{theirs}.norm1", block.attention_norm)
        rules += attention_rules(f"{ours}.attention", f"{theirs}.s_att", block.attention)
        if block.cross_attention is not None and block.cross_norm is not None:
            rules += same(f"{ours}.cross_norm", f"{theirs}.norm2", block.cross_norm)
            rules += attention_rules(
                f"{ours}.cross_attention", f"{theirs}.c_att", block.cross_attention
            )
        rules += same(f"{ours}.mixture_norm", f"{theirs}.norm3", block.mixture_norm)
        rules += layer_rules(f"{ours}.mixture", f"{theirs}.ffn", block.mixture, shared_kind)
    rules += same("norm", "backbone.final_norm", network.norm)
    return rules + head_rules(network, "mlp" if head_kind == "fan" else head_kind)


def layer_rules(ours: str, theirs: str, layer: nn.Module, shared_kind: SharedKind) -> list[Rule]:
    """One mixture, or the shared network that stands alone."""
    if not isinstance(layer, MoELayer):
        return network_rules(ours, f"{theirs}.shared_expert", layer, shared_kind)
    assert layer.shared is not None
    rules = [
        rename(f"{ours}.router.score_function.weight", f"{theirs}.gating.weight"),
        rename(f"{ours}.shared.gate.weight", f"{theirs}.shared_gating.weight"),
    ]
    shared = layer.shared.module
    rules += network_rules(f"{ours}.shared.module", f"{theirs}.shared_expert", shared, shared_kind)
    experts = layer.experts
    if isinstance(experts, ModuleExperts):
        for number, member in enumerate(experts.members):
            place = f"{theirs}.experts.{number}"
            rules += network_rules(f"{ours}.experts.members.{number}", place, member, "mlp")
        return rules
    if isinstance(experts, FourierExperts):
        return rules + fourier_expert_rules(f"{ours}.experts", theirs, experts)
    assert isinstance(experts, MLPExperts | GLUExperts)
    return rules + expert_rules(f"{ours}.experts", f"{theirs}.", layer)


def fourier_expert_rules(ours: str, theirs: str, experts: FourierExperts) -> list[Rule]:
    """Stacked Fourier experts: of each layer the waves' rows, then the others."""
    rules = []
    for name, there in FOURIER.items():
        for kind, suffix in (("weight", ""), ("bias", "_bias")):
            if getattr(experts, f"{name}{suffix}") is None:
                continue
            places = [f"{theirs}.experts.{e}.{there}" for e in range(experts.num_experts)]
            waves = experts.out_waves if name == "down" else experts.hidden_waves
            rules.append(
                stack_pairs(
                    f"{ours}.{name}{suffix}",
                    [f"{place}.Wp.{kind}" for place in places],
                    [f"{place}.Wp_bar.{kind}" for place in places],
                    first_rows=waves,
                )
            )
    return rules


def network_rules(ours: str, theirs: str, network: nn.Module, kind: SharedKind) -> list[Rule]:
    """A single network of any kind."""
    if isinstance(network, FourierLayer | FourierFeedForward):
        return fourier_rules(ours, theirs, network)
    return feed_forward_rules(ours, theirs, network, "mlp" if kind == "fan" else kind)
