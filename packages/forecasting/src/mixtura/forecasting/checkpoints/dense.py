"""Names of the dense baselines' tensors in the Time-Series-Library.

NLinear's are those of LTSF-Linear, and those of PatchTST with its authors' encoder those of their
own code.
"""

import torch

from mixtura.forecasting.checkpoints.state_map import Rule, rename, squeeze, stack
from mixtura.forecasting.networks.channel_linear import ChannelLinear
from mixtura.forecasting.networks.dlinear import DLinear
from mixtura.forecasting.networks.itransformer import ITransformer
from mixtura.forecasting.networks.nlinear import NLinear
from mixtura.forecasting.networks.patchtst import PatchTST


def dlinear_rules(network: DLinear) -> list[Rule]:
    """`Linear_Seasonal` and `Linear_Trend`, one of each or one per variate."""
    rules = []
    for ours, theirs in (("seasonal", "Linear_Seasonal"), ("trend", "Linear_Trend")):
        rules += channel_rules(ours, theirs, getattr(network, ours))
    return rules


def nlinear_rules(network: NLinear) -> list[Rule]:
    """`Linear`, one or one per variate; the names of its first release."""
    return channel_rules("project", "Linear", network.project)


def channel_rules(ours: str, theirs: str, linear: ChannelLinear) -> list[Rule]:
    """A map along time: one module there for all variates, or a list with one for each."""
    places = [theirs]
    if linear.individual:
        places = [f"{theirs}.{variate}" for variate in range(len(linear.weight))]
    return [
        stack(f"{ours}.{kind}", [f"{place}.{kind}" for place in places])
        for kind in ("weight", "bias")
    ]


def patchtst_rules(network: PatchTST) -> list[Rule]:
    """Without `patch_embedding.position_embedding.pe`, a constant table."""
    if network.positions is not None:
        return authors_patchtst_rules(network)
    rules = [rename("embed.weight", "patch_embedding.value_embedding.weight")]
    rules += encoder_rules(len(network.layers))
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    rules += [rename(f"norm.{kind}", f"encoder.norm.1.{kind}") for kind in kinds]
    return rules + [rename(f"head.{kind}", f"head.linear.{kind}") for kind in ("weight", "bias")]


def authors_patchtst_rules(network: PatchTST) -> list[Rule]:
    """`model.backbone` and `model.head`; each layer also stores its constant scale of scores."""
    linear = ("weight", "bias")
    batch_norm = (*linear, "running_mean", "running_var", "num_batches_tracked")
    parts = [("embed", "model.backbone.W_P", linear), ("head", "model.head.linear", linear)]
    rules = [rename("positions", "model.backbone.W_pos")]
    for layer in range(len(network.layers)):
        ours, theirs = f"layers.{layer}", f"model.backbone.encoder.layers.{layer}"
        attention = f"{theirs}.self_attn"
        rules.append(
            Rule(
                f"{ours}.q_proj.weight",
                (f"{attention}.W_Q.weight", f"{attention}.sdp_attn.scale"),
                lambda tensors: tensors[0],
                lambda weight: (weight, torch.tensor((len(weight) // network.num_heads) ** -0.5)),
            )
        )
        rules.append(rename(f"{ours}.q_proj.bias", f"{attention}.W_Q.bias"))
        parts += [
            (f"{ours}.k_proj", f"{attention}.W_K", linear),
            (f"{ours}.v_proj", f"{attention}.W_V", linear),
            (f"{ours}.o_proj", f"{attention}.to_out.0", linear),
            (f"{ours}.norm1", f"{theirs}.norm_attn.1", batch_norm),
            (f"{ours}.up", f"{theirs}.ff.0", linear),
            (f"{ours}.down", f"{theirs}.ff.3", linear),
            (f"{ours}.norm2", f"{theirs}.norm_ffn.1", batch_norm),
        ]
    return rules + [
        rename(f"{ours}.{kind}", f"{theirs}.{kind}")
        for ours, theirs, kinds in parts
        for kind in kinds
    ]


def itransformer_rules(network: ITransformer) -> list[Rule]:
    """`enc_embedding`, `encoder` and `projection`."""
    parts = (
        ("embed", "enc_embedding.value_embedding"),
        ("norm", "encoder.norm"),
        ("head", "projection"),
    )
    rules = [
        rename(f"{ours}.{kind}", f"{theirs}.{kind}")
        for ours, theirs in parts
        for kind in ("weight", "bias")
    ]
    return rules + encoder_rules(len(network.layers))


def encoder_rules(num_layers: int) -> list[Rule]:
    """The encoder layers that both Transformers share."""
    linear = {
        "attention.q_proj": "attention.query_projection",
        "attention.k_proj": "attention.key_projection",
        "attention.v_proj": "attention.value_projection",
        "attention.o_proj": "attention.out_projection",
        "norm1": "norm1",
        "norm2": "norm2",
    }
    rules = []
    for layer in range(num_layers):
        start = f"encoder.attn_layers.{layer}"
        for ours, theirs in linear.items():
            rules += [
                rename(f"layers.{layer}.{ours}.{kind}", f"{start}.{theirs}.{kind}")
                for kind in ("weight", "bias")
            ]
        for ours, theirs in (("up", "conv1"), ("down", "conv2")):
            rules.append(squeeze(f"layers.{layer}.{ours}.weight", f"{start}.{theirs}.weight"))
            rules.append(rename(f"layers.{layer}.{ours}.bias", f"{start}.{theirs}.bias"))
    return rules
