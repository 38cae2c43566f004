"""DLinear, PatchTST and iTransformer of the Time-Series-Library."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.forecasting.checkpoints import (
    Rule,
    dlinear_rules,
    itransformer_rules,
    load_into,
    nlinear_rules,
    patchtst_rules,
)
from mixtura.forecasting.networks import DLinear, ITransformer, NLinear, PatchTST

from ..fixture import Fixture
from ..gradients import gradient_norms
from ..options import Options, UnknownOption
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

# without rotation the biases of keys have no gradient but rounding errors
GRADIENTS = Tolerance(1e-5, 1e-3)


@system("dense-baselines")
def check(fixture: Fixture, report: Report) -> None:
    """Forecast in evaluation mode, error and gradients in training mode."""
    x = fixture.input("x").transpose(1, 2)
    y = fixture.input("y").transpose(1, 2)
    marks = fixture.input("x_mark").transpose(1, 2)
    for name in fixture.options:
        if name.startswith("_"):
            continue
        options = fixture.options[name]
        network, rules = build(name, options)
        weights = fixture.weights_of(name)
        weights.pop("patch_embedding.position_embedding.pe", None)
        load_into(network, rules, weights)
        inputs = (x, marks) if isinstance(network, ITransformer) else (x,)
        if isinstance(network, PatchTST):
            forget_training_passes(network, x)
        network.eval()
        report.compare(f"{name}.y_hat", network(*inputs).transpose(1, 2))
        network.train()
        loss = nn.functional.mse_loss(network(*inputs), y)
        loss.backward()
        report.compare(f"{name}.train_mse", loss)
        norms = gradient_norms(network, rules, options["_grad_norm_order"])
        report.compare(f"{name}.train_grad_norms", norms, GRADIENTS)


def build(name: str, options: Options) -> tuple[nn.Module, list[Rule]]:
    """The network that the options describe, and its checkpoint's names."""
    builders: dict[str, Callable[[Options], tuple[nn.Module, list[Rule]]]] = {
        "models.DLinear": dlinear,
        "models.NLinear": nlinear,
        "models.PatchTST": patchtst,
        "models.iTransformer": itransformer,
    }
    if options["model"] not in builders:
        raise UnknownOption(f"{name}: {options['model']} is none of {', '.join(builders)}")
    options.get("B")
    return builders[options["model"]](options)


def lengths(options: Options) -> dict[str, int]:
    """Look-back and horizon."""
    return {"context_length": options["seq_len"], "horizon": options["pred_len"]}


def dlinear(options: Options) -> tuple[nn.Module, list[Rule]]:
    """Shared or one map per variate."""
    variates = options["enc_in"]
    network = DLinear(
        **lengths(options),
        kernel_size=options.get("moving_avg", 25),
        num_variates=variates if options.get("individual", False) else None,
    )
    return network, dlinear_rules(network)


def nlinear(options: Options) -> tuple[nn.Module, list[Rule]]:
    """Shared or one map per variate."""
    variates = options["enc_in"]
    network = NLinear(
        **lengths(options), num_variates=variates if options.get("individual", False) else None
    )
    return network, nlinear_rules(network)


def patchtst(options: Options) -> tuple[nn.Module, list[Rule]]:
    """Patches of each variate."""
    network = PatchTST(
        **lengths(options),
        patch_width=options.get("patch_len", 16),
        stride=options.get("stride", 8),
        **transformer(options),
    )
    return network, patchtst_rules(network)


def itransformer(options: Options) -> tuple[nn.Module, list[Rule]]:
    """Variates as tokens."""
    network = ITransformer(**lengths(options), **transformer(options))
    return network, itransformer_rules(network)


def transformer(options: Options) -> dict[str, Any]:
    """Sizes of the encoder."""
    options.get("enc_in")
    options.only("dropout", 0, 0.0)
    return {
        "num_layers": options["e_layers"],
        "dim": options["d_model"],
        "num_heads": options["n_heads"],
        "hidden_dim": options["d_ff"],
        "dropout": 0.0,
        "activation": options.get("activation", "gelu"),
    }


@torch.no_grad()
def forget_training_passes(network: PatchTST, x: Tensor) -> None:
    """Take back the updates of the running statistics that the stored weights already contain.

    The reference's state dict was written after its training pass on `x`, but its forecast in
    evaluation mode was made before; `num_batches_tracked` counts such passes.
    """
    norm = network.norm
    network.train()
    updates, mean, variance = (
        int(norm.num_batches_tracked),
        norm.running_mean.clone(),
        norm.running_var.clone(),
    )
    norm.momentum = 1.0  # the running statistics become those of the batch
    network(x)
    norm.momentum = 0.1
    for _ in range(updates):
        mean = (mean - norm.momentum * norm.running_mean) / (1 - norm.momentum)
        variance = (variance - norm.momentum * norm.running_var) / (1 - norm.momentum)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
