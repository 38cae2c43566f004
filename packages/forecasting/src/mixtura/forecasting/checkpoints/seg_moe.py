"""Names of Seg-MoE's tensors in the released implementation."""

from torch import nn

from mixtura.core import GLUExperts, MLPExperts, MoELayer
from mixtura.forecasting.checkpoints.state_map import Rule, rename, squeeze, stack, stack_pairs
from mixtura.forecasting.networks.feed_forward import (
    DepthwiseConvFeedForward,
    FeedForward,
    FeedForwardKind,
)
from mixtura.forecasting.networks.fourier import FourierFeedForward, FourierLayer
from mixtura.forecasting.networks.mohets import MoHETS
from mixtura.forecasting.networks.norms import DynamicTanh, RMSNorm
from mixtura.forecasting.networks.seg_moe import SegMoE
from mixtura.forecasting.networks.segment_mixture import ProjectedSegments, SegmentSequence
from mixtura.forecasting.networks.unpatching import LinearUnpatcher

FOURIER = {"up": "up_fan", "gate": "gate_proj", "down": "down_fan"}


def seg_moe_rules(
    network: SegMoE,
    *,
    shared_kind: FeedForwardKind | None = "mlp",
    head_kind: FeedForwardKind = "mlp",
) -> list[Rule]:
    """All tensors of a model.

    Args:
        network: our model, built with the checkpoint's options.
        shared_kind: kind of its shared expert ("conv" has the weights of "mlp" in another shape).
        head_kind: kind of its head where that is not linear.
    """
    rules = same("embedding.project", "t_embedding.embed", network.embedding.project)
    rules += same("embedding.norm", "t_embedding.norm", network.embedding.norm)
    for depth, block in enumerate(network.blocks):
        ours, theirs = f"blocks.{depth}", f"backbone.transformer.{depth}"
        rules += same(f"{ours}.attention_norm", f"{theirs}.norm1", block.attention_norm)
        rules += attention_rules(f"{ours}.attention", f"{theirs}.s_att", block.attention)
        rules += same(f"{ours}.mixture_norm", f"{theirs}.norm3", block.mixture_norm)
        rules += mixture_rules(f"{ours}.mixture", f"{theirs}.moeff", block.mixture, shared_kind)
    rules += same("norm", "backbone.final_norm", network.norm)
    return rules + head_rules(network, head_kind)


def mixture_rules(
    ours: str, theirs: str, layer: nn.Module, shared_kind: FeedForwardKind | None = "mlp"
) -> list[Rule]:
    """One segment layer, of any granularity, or the feed-forward network of a dense model.

    Args:
        ours: prefix of the layer's tensors here ("" for a layer alone).
        theirs: prefix there.
        layer: our layer.
        shared_kind: kind of the shared expert.
    """
    rules: list[Rule] = []
    ours, theirs = dotted(ours), dotted(theirs)
    if isinstance(layer, ProjectedSegments):
        for name in ("in_proj", "out_proj"):
            rules += same(f"{ours}{name}", f"{theirs}{name}", getattr(layer, name))
        ours, layer = f"{ours}mixture.", layer.mixture
    if not isinstance(layer, MoELayer):
        kind = shared_kind or "mlp"
        return feed_forward_rules(ours.removesuffix("."), f"{theirs}shared_expert", layer, kind)
    rules.append(rename(f"{ours}router.score_function.weight", f"{theirs}gating.weight"))
    rules += expert_rules(f"{ours}experts", theirs, layer)
    if layer.shared is not None:
        network, place = layer.shared.module, f"{ours}shared.module"
        gate = f"{ours}shared.gate.weight"
        if isinstance(network, SegmentSequence):
            gate, place = f"{place}.gate.weight", f"{place}.network"
            network = network.network
        rules.append(rename(gate, f"{theirs}shared_gating.weight"))
        kind = shared_kind or "mlp"
        rules += feed_forward_rules(place, f"{theirs}shared_expert", network, kind)
    return rules


def expert_rules(ours: str, theirs: str, layer: MoELayer) -> list[Rule]:
    """The routed experts, one module each there and stacked here.

    In the reference a segment's experts stand between two reshapes, which shows in their names.
    """
    experts = layer.experts
    inner = ".1" if getattr(layer.units, "granularity", "unit") == "row" else ""

    def names(part: str) -> list[str]:
        return [f"{theirs}experts.{e}{inner}.{part}" for e in range(experts.num_experts)]

    rules = []
    for kind, suffix in (("weight", ""), ("bias", "_bias")):
        if isinstance(experts, GLUExperts):
            if getattr(experts, f"gate_up{suffix}", None) is None:
                continue
            # The reference puts the activation on what it calls up.
            up, gate = names(f"up_proj.{kind}"), names(f"gate_proj.{kind}")
            rules.append(stack_pairs(f"{ours}.gate_up{suffix}", up, gate))
        else:
            assert isinstance(experts, MLPExperts)
            if getattr(experts, f"up{suffix}", None) is None:
                continue
            rules.append(stack(f"{ours}.up{suffix}", names(f"up_proj.{kind}")))
        rules.append(stack(f"{ours}.down{suffix}", names(f"down_proj.{kind}")))
    return rules


def feed_forward_rules(
    ours: str, theirs: str, network: nn.Module, kind: FeedForwardKind
) -> list[Rule]:
    """A feed-forward network; convolutional kinds have other names and a trailing dimension."""
    rules: list[Rule] = []
    names = {"up": "up_proj", "gate": "gate_proj", "down": "down_proj"}
    if kind != "mlp":
        names = {"up": "up_conv", "gate": "gate_conv", "down": "down_conv"}
    ours, theirs = dotted(ours), dotted(theirs)
    if isinstance(network, DepthwiseConvFeedForward):
        names["up"] = "pw_conv"
        rules += same(f"{ours}depthwise", f"{theirs}dw_conv", network.depthwise)
        ours, network = f"{ours}feed_forward.", network.feed_forward
    assert isinstance(network, FeedForward)
    for name, there in names.items():
        linear = getattr(network, name, None)
        if linear is None:
            continue
        rule = rename if kind == "mlp" else squeeze
        rules.append(rule(f"{ours}{name}.weight", f"{theirs}{there}.weight"))
        if linear.bias is not None:
            rules.append(rename(f"{ours}{name}.bias", f"{theirs}{there}.bias"))
    return rules


def attention_rules(ours: str, theirs: str, attention: nn.Module) -> list[Rule]:
    """The four projections."""
    rules: list[Rule] = []
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        rules += same(f"{ours}.{name}", f"{theirs}.{name}", getattr(attention, name))
    return rules


def head_rules(network: SegMoE | MoHETS, kind: FeedForwardKind) -> list[Rule]:
    """The head of a model: `e_head` of an encoder, `d_head` of a causal one."""
    head = network.head
    causal = network.blocks[0].attention.causal
    theirs = f"head.{'d' if causal else 'e'}_head.out_proj"
    if isinstance(head.project, nn.Linear):
        rules = same("head.project", theirs, head.project)
    elif isinstance(head.project, FourierLayer | FourierFeedForward):
        rules = fourier_rules("head.project", theirs, head.project)
    else:
        rules = feed_forward_rules("head.project", theirs, head.project, kind)
    if isinstance(head.unpatch, LinearUnpatcher):
        return rules + same("head.unpatch.project", "head.unpatch.proj", head.unpatch.project)
    for name, place in (("spread", 0), ("depthwise", 2), ("norm", 3), ("mix", 4), ("out", 6)):
        there = f"head.unpatch.unpatch.{place}"
        rules += same(f"head.unpatch.{name}", there, getattr(head.unpatch, name))
    return rules


def fourier_rules(ours: str, theirs: str, network: FourierLayer | FourierFeedForward) -> list[Rule]:
    """A Fourier layer, or a network of two or three of them."""
    if isinstance(network, FourierLayer):
        rules = same(f"{dotted(ours)}wave", f"{dotted(theirs)}Wp", network.wave)
        rules += same(f"{dotted(ours)}rest", f"{dotted(theirs)}Wp_bar", network.rest)
        if network.gate is not None:
            rules.append(rename(f"{dotted(ours)}gate", f"{dotted(theirs)}gate"))
        return rules
    rules = []
    for name, there in FOURIER.items():
        layer = getattr(network, name)
        if layer is not None:
            rules += fourier_rules(f"{dotted(ours)}{name}", f"{dotted(theirs)}{there}", layer)
    return rules


def same(ours: str, theirs: str, module: nn.Module) -> list[Rule]:
    """Weight, bias and scale of a module that is the same in both."""
    kinds = ["weight"]
    if not isinstance(module, RMSNorm) and getattr(module, "bias", None) is not None:
        kinds.append("bias")
    if isinstance(module, DynamicTanh):
        kinds.append("alpha")
    return [rename(f"{ours}.{kind}", f"{theirs}.{kind}") for kind in kinds]


def dotted(prefix: str) -> str:
    """`prefix.`, or nothing for no prefix."""
    return f"{prefix}." if prefix else ""
