"""Time-MoE: heads, losses, generation."""

from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core import LoadBalance, Routing, load_balance, moe_layers, record_routing
from mixtura.forecasting.checkpoints import load_into, time_moe_arguments, time_moe_rules
from mixtura.forecasting.horizon_losses import horizon_loss, mean_horizon_loss
from mixtura.forecasting.networks import TimeMoE
from mixtura.forecasting.networks.schedule import head_schedule

from ..capture import captured
from ..fixture import Fixture
from ..gradients import gradient_norms
from ..options import Options
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

GENERATION = Tolerance(1e-4, 1e-3)
GRADIENTS = Tolerance(1e-7, 1e-3)
KNOWN = (
    "input_size",
    "hidden_size",
    "intermediate_size",
    "horizon_lengths",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "num_experts_per_tok",
    "num_experts",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_cache",
    "use_dense",
    "rope_theta",
    "attention_dropout",
    "apply_aux_loss",
    "router_aux_loss_factor",
)


@system("time-moe")
def check(fixture: Fixture, report: Report) -> None:
    """Every head at every position, the losses, the gradients and the generated points."""
    options = fixture.options
    network = build(options)
    rules = time_moe_rules(network)
    load_into(network, rules, fixture.weights)
    x, labels = fixture.input("input_ids"), fixture.input("labels")
    loss_mask = fixture.input("loss_masks")
    network.eval()
    predictions, aux = check_forward(network, x, report)
    check_losses(predictions, aux, labels, loss_mask, options, report)
    check_generation(network, x, fixture, report)
    if fixture.has("attention_mask"):
        check_masked(network, x, fixture.input("attention_mask").bool(), report)
    if "train.loss" in fixture.expected:
        network.train()
        predictions, aux = observed(network, x)
        loss = mean_horizon_loss(predictions, labels, loss_mask) + aux
        loss.backward()
        report.compare("train.loss", loss)
        norms = gradient_norms(network, rules, options["_grad_norm_order"])
        report.compare("train.grad_norms", norms, GRADIENTS)


def build(options: Options) -> TimeMoE:
    """The network that the options describe; the load-balance loss has their weight."""
    config: dict[str, Any] = {name: options[name] for name in KNOWN if name in options}
    balance = LoadBalance(
        config.get("router_aux_loss_factor", 0.02), normalization="k", scope="model"
    )
    return TimeMoE(**time_moe_arguments(config), balance=balance)


def observed(network: TimeMoE, x: Tensor, mask: Tensor | None = None) -> tuple[Any, Tensor]:
    """Predictions of all heads and the weighted auxiliary loss."""
    if not moe_layers(network):
        return network(x, mask), torch.zeros(())
    with record_routing(network) as record:
        predictions = network(x, mask)
    (aux,) = record.losses().values()
    return predictions, aux


def check_forward(network: TimeMoE, x: Tensor, report: Report) -> tuple[dict[int, Tensor], Tensor]:
    """Heads, hidden states, attention and routings without a mask."""
    parts: dict[str, nn.Module] = {"hidden_states.0": network.embedding}
    for depth, block in enumerate(network.blocks[:-1]):
        parts[f"hidden_states.{depth + 1}"] = block
    parts[f"hidden_states.{len(network.blocks)}"] = network.norm
    first = network.blocks[0]
    with captured({**parts, "attention input": first.attention_norm}) as outputs:
        predictions, aux = observed(network, x)
    report.compare("attentions.0", first.attention.probabilities(outputs.pop("attention input")))
    for name, output in outputs.items():
        report.compare(name, output)
    for horizon, prediction in predictions.items():
        report.compare(f"logits.h{horizon}", prediction)
    if moe_layers(network):
        with record_routing(network) as record:
            network(x)
        for depth, (routing,) in enumerate(record.calls.values()):
            report.compare(f"router_logits.{depth}", routing.logits)
            report.exact(f"topk_experts.{depth}", routing.index)
            report.compare(f"topk_weights.{depth}", routing.weight.view_as(routing.index))
        layer = next(iter(moe_layers(network).values()))
        report.compare("aux_loss.unmasked", aux / layer.losses[0].weight)
    return predictions, aux


def check_losses(
    predictions: dict[int, Tensor],
    aux: Tensor,
    labels: Tensor,
    mask: Tensor,
    options: Options,
    report: Report,
) -> None:
    """Each head's loss and their sum, with the mask and without (zeros behind the end count)."""
    for horizon, prediction in predictions.items():
        report.compare(f"ar_loss.masked.h{horizon}", horizon_loss(prediction, labels, mask))
        plain = horizon_loss(prediction, labels, compat_unmasked_tail=True)
        report.compare(f"ar_loss.unmasked.h{horizon}", plain)
    report.compare("loss.masked", mean_horizon_loss(predictions, labels, mask) + aux)
    plain = mean_horizon_loss(predictions, labels, compat_unmasked_tail=True)
    report.compare("loss.unmasked", plain + aux)


def check_generation(network: TimeMoE, x: Tensor, fixture: Fixture, report: Report) -> None:
    """Continuations with and without a cache, and with padding; the schedule of the heads."""
    schedules = fixture.options.get("_generation_schedule", {})
    mask = fixture.input("attention_mask").bool() if fixture.has("attention_mask") else None
    for name in report.names("generate"):
        kind, length = name.split(".")
        known = mask if kind == "generate_left_padded" else None
        cached = kind != "generate_nocache"
        y = network.generate(x, int(length), mask=known, use_cache=cached)
        report.compare(name, y, GENERATION)
        if (
            length in schedules
            and head_schedule(int(length), network.horizons) != schedules[length]
        ):
            report.fail(f"schedule of {length}", f"expected {schedules[length]}")


def check_masked(network: TimeMoE, x: Tensor, mask: Tensor, report: Report) -> None:
    """The largest head under left padding, where the mask is 1."""
    largest = network(x, mask)[max(network.horizons)]
    report.compare("logits.attention_masked.default_position_ids", largest, where=mask)
    positions = (mask.long().cumsum(-1) - 1).masked_fill(~mask, 1)
    report.exact("position_ids.from_mask", positions)
    hidden = network.hidden(x, mask=mask, positions=positions)
    head = network.heads[network.horizons.index(max(network.horizons))]
    report.compare("logits.attention_masked.position_ids_from_mask", head(hidden), where=mask)
    if "aux_loss.masked" in report.fixture.expected:
        # the reference masks the rows of a pass that was made without the mask
        with record_routing(network) as record:
            network(x)
        calls = [
            Routing.from_choices(
                routing.index,
                routing.weight.view_as(routing.index),
                num_experts=routing.num_experts,
                mask=mask.flatten(),
                scores=routing.scores,
            )
            for (routing,) in record.calls.values()
        ]
        report.compare("aux_loss.masked", load_balance(calls, normalization="k"))
