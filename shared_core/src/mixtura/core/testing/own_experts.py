"""The core's banks of experts as cases."""

from torch import nn

from mixtura.core.experts import (
    DeepMLPExperts,
    ExpertGroups,
    GLUExperts,
    LoRAExperts,
    MLPExperts,
    ModuleExperts,
)
from mixtura.core.testing.cases import DIM, ExpertsCase

__all__ = ["OWN_EXPERTS"]

OWN_EXPERTS = [
    ExpertsCase("mlp", lambda e: MLPExperts(e, DIM, 12)),
    ExpertsCase("mlp_bias", lambda e: MLPExperts(e, DIM, 12, out_dim=5, bias=True)),
    ExpertsCase("deep_mlp", lambda e: DeepMLPExperts(e, DIM, (12, 6))),
    ExpertsCase("lora", lambda e: LoRAExperts(e, DIM, 3)),
    ExpertsCase(
        "modules",
        lambda e: ModuleExperts([nn.Linear(DIM, DIM) for _ in range(e)]),
        excused={"configuration": "a torch module has no configuration of its own"},
    ),
    ExpertsCase(
        "groups",
        lambda e: ExpertGroups([MLPExperts(1, DIM, 6) for _ in range(e)], views=[0] * e),
        rows=(1, DIM),
    ),
    ExpertsCase("glu", lambda e: GLUExperts(e, DIM, 12)),
    ExpertsCase("glu_bias", lambda e: GLUExperts(e, DIM, 12, activation="gelu", bias=True)),
]
