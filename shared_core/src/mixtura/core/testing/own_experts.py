"""The core's banks of experts as cases."""

import torch
from torch import nn

from mixtura.core.experts import (
    ConvExperts,
    DeepMLPExperts,
    EmbeddingExperts,
    ExpertGroups,
    ExternalExperts,
    GLUExperts,
    GRUExperts,
    LatentExperts,
    LinearExperts,
    LoRAExperts,
    MLPExperts,
    ModuleExperts,
    ViewExperts,
    WithSimpleExperts,
)
from mixtura.core.experts.simple import SimpleExpert
from mixtura.core.experts.views import View
from mixtura.core.testing.cases import DIM, ExpertsCase

__all__ = ["OWN_EXPERTS"]

SIMPLE: list[SimpleExpert] = ["zero", "copy", "constant"]
VIEWS: list[View] = ["sequence", "mean", "first", "last"]

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
    ExpertsCase(
        "external",
        ExternalExperts,
        rows=(4, DIM),
        excused={
            "one_by_one": "a unit holds the outputs of one number of experts",
            "idle_expert": "it has no parameters",
        },
    ),
    ExpertsCase("glu", lambda e: GLUExperts(e, DIM, 12)),
    ExpertsCase("glu_bias", lambda e: GLUExperts(e, DIM, 12, activation="gelu", bias=True)),
    ExpertsCase("linear", lambda e: LinearExperts(e, DIM, 5)),
    ExpertsCase("conv_1d", lambda e: ConvExperts(e, DIM, 6), rows=(5, DIM)),
    ExpertsCase("conv_2d", lambda e: ConvExperts(e, DIM, 6, dims=2, out_dim=3), rows=(4, 5, DIM)),
    ExpertsCase("gru", lambda e: GRUExperts(e, DIM, 6), rows=(5, DIM)),
    ExpertsCase("gru_last", lambda e: GRUExperts(e, DIM, 6, last=True), rows=(5, DIM)),
    ExpertsCase("latent", lambda e: LatentExperts(e, DIM, 12, 4)),
    ExpertsCase(
        "latent_groups",
        lambda e: LatentExperts(e, DIM, 12, 4, experts_per_group=2 if e % 2 == 0 else 1),
    ),
    ExpertsCase(
        "embedding",
        lambda e: EmbeddingExperts(e, 16, 3),
        rows=(2,),
        draw=lambda shape, generator: torch.randint(16, shape, generator=generator).float(),
    ),
    ExpertsCase(
        "views",
        lambda e: ViewExperts(
            [GRUExperts(1, DIM, 6, last=True), *(LinearExperts(1, DIM, 6) for _ in range(e - 1))],
            VIEWS[:e],
        ),
        rows=(5, DIM),
    ),
    ExpertsCase(
        "simple",
        lambda e: WithSimpleExperts(MLPExperts(1, DIM, 6), SIMPLE[: e - 1], dim=DIM),
    ),
]
