"""The reference implementations' algorithms, written down once more to be measured against."""

from mixtura.forecasting.reference_speed.generation import LoopTimeMoE
from mixtura.forecasting.reference_speed.loop_mixture import LoopMixture, with_loops
from mixtura.forecasting.reference_speed.plain_attention import PlainAttention
from mixtura.forecasting.reference_speed.race import (
    Racer,
    race_generation,
    race_training,
    training_profiles,
)

__all__ = [
    "LoopMixture",
    "LoopTimeMoE",
    "PlainAttention",
    "Racer",
    "race_generation",
    "race_training",
    "training_profiles",
    "with_loops",
]
