"""Names of the dense baselines' tensors in the Time-Series-Library (NLinear: in LTSF-Linear)."""

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
    rules = [rename("embed.weight", "patch_embedding.value_embedding.weight")]
    rules += encoder_rules(len(network.layers))
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    rules += [rename(f"norm.{kind}", f"encoder.norm.1.{kind}") for kind in kinds]
    return rules + [rename(f"head.{kind}", f"head.linear.{kind}") for kind in ("weight", "bias")]


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
