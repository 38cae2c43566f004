"""Several models scored on the same windows: one line each, and nothing typed by hand."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import nn

from mixtura.core import moe_layers
from mixtura.datasets import ForecastScores, WindowBatch
from mixtura.forecasting.networks.base import ForecastNetwork

__all__ = ["Result", "active_parameters", "result_table", "score", "write_results"]


@dataclass(frozen=True)
class Result:
    """One line of a comparison.

    Attributes:
        name: of the model.
        windows: that were scored.
        mse: mean squared error on scaled values.
        mae: mean absolute error on scaled values.
        parameters: of the network.
        active_parameters: that work on a token.
        seconds: of training and scoring.
        seed: of the run, None for a model without training.
    """

    name: str
    windows: int
    mse: float
    mae: float
    parameters: int
    active_parameters: int
    seconds: float
    seed: int | None


def score(
    network: ForecastNetwork,
    batches: Iterable[WindowBatch],
    *,
    calendar: bool = False,
    advance: Callable[[int], None] | None = None,
) -> tuple[int, float, float]:
    """Windows, mean squared and mean absolute error of a network's forecasts.

    Args:
        network: The network.
        batches: every window once.
        calendar: hand calendar features to the network.
        advance: called after each batch with its number of windows.
    """
    scores = ForecastScores()
    for batch in batches:
        past, future = batch.past.transpose(1, 2), batch.future
        marks = None
        if calendar:
            marks = torch.cat((batch.past_marks, batch.future_marks), 1).transpose(1, 2)
        forecast = network.forecast(past, future.shape[1], marks).transpose(1, 2)
        scores.update(forecast.numpy(), future.numpy())
        if advance is not None:
            advance(len(future))
    result = scores.compute()
    return result.windows, result.mse, result.mae


def active_parameters(network: nn.Module) -> int:
    """Parameters that work on one token: all but those of the experts it does not choose."""
    total = sum(parameter.numel() for parameter in network.parameters())
    for layer in moe_layers(network).values():
        k = getattr(layer.router.selection, "k", layer.num_experts)
        experts = sum(parameter.numel() for parameter in layer.experts.parameters())
        total -= experts * (layer.num_experts - k) // layer.num_experts
    return total


def result_table(results: Iterable[Result], title: str) -> Table:
    """The comparison for a terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    columns = ("MSE", "MAE", "parameters", "active parameters", "seconds")
    for column in columns:
        table.add_column(column, justify="right")
    for r in results:
        table.add_row(
            r.name,
            f"{r.mse:.4f}",
            f"{r.mae:.4f}",
            f"{r.parameters:,}",
            f"{r.active_parameters:,}",
            f"{r.seconds:.1f}",
        )
    return table


def write_results(path: Path, results: Iterable[Result]) -> Path:
    """The comparison as a JSON list, one object per model."""
    content = json.dumps([asdict(result) for result in results], indent=1) + "\n"
    temporary = path.with_name(f".{path.name}.incomplete")
    temporary.write_text(content)
    return temporary.replace(path)
