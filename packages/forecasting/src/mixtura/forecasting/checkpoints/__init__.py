"""Reference implementations' checkpoints: fixed maps of tensor names, in both directions."""

from mixtura.forecasting.checkpoints.dense import (
    dlinear_rules,
    itransformer_rules,
    nlinear_rules,
    patchtst_rules,
)
from mixtura.forecasting.checkpoints.mohets import mohets_rules, network_rules
from mixtura.forecasting.checkpoints.moirai_moe import (
    load_moirai_moe,
    load_moirai_moe_state,
    moirai_moe_arguments,
    moirai_moe_rules,
    save_moirai_moe,
)
from mixtura.forecasting.checkpoints.seg_moe import mixture_rules, seg_moe_rules
from mixtura.forecasting.checkpoints.state_map import Rule, load_into, load_state, save_state
from mixtura.forecasting.checkpoints.time_moe import (
    load_time_moe,
    save_time_moe,
    time_moe_arguments,
    time_moe_rules,
)

__all__ = [
    "Rule",
    "dlinear_rules",
    "itransformer_rules",
    "load_into",
    "load_moirai_moe",
    "load_moirai_moe_state",
    "load_state",
    "load_time_moe",
    "mixture_rules",
    "mohets_rules",
    "moirai_moe_arguments",
    "moirai_moe_rules",
    "network_rules",
    "nlinear_rules",
    "patchtst_rules",
    "save_moirai_moe",
    "save_state",
    "save_time_moe",
    "seg_moe_rules",
    "time_moe_arguments",
    "time_moe_rules",
]
