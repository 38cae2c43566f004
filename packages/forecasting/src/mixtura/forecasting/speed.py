"""Training steps of two networks, timed side by side in one process."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from mixtura.core import moe_layers, record_routing
from mixtura.forecasting.networks.base import ForecastNetwork

__all__ = ["StepTimes", "profile_lines", "time_steps", "training_step"]


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one training step of a network.

    Attributes:
        name: of the network.
        parameters: of the network.
        wall: median seconds.
        cpu: median seconds of processor time, all threads together.
        steps: that were timed.
    """

    name: str
    parameters: int
    wall: float
    cpu: float
    steps: int


def training_step(network: ForecastNetwork, past: Tensor, future: Tensor) -> Callable[[], None]:
    """A function that makes one step: forward, loss with auxiliary terms, backward, optimiser.

    Args:
        network: a forecasting network.
        past: (batch, variates, look-back).
        future: (batch, variates, target).
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    experts = bool(moe_layers(network))
    network.train()

    def step() -> None:
        terms: dict[str, Tensor] = {}
        if experts:
            with record_routing(network) as record:
                prediction, target = network.supervise(past, future)
            terms = record.losses()
        else:
            prediction, target = network.supervise(past, future)
        loss = nn.functional.huber_loss(prediction, target, delta=2.0)
        total = loss + sum(terms.values(), loss.new_zeros(()))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return step


def time_steps(
    networks: Mapping[str, ForecastNetwork],
    past: Tensor,
    future: Tensor,
    rounds: int,
    warmup: int = 2,
) -> list[StepTimes]:
    """Time the networks in turns, so that whatever else the machine does hits all alike.

    Args:
        networks: by name.
        past: (batch, variates, look-back).
        future: (batch, variates, target).
        rounds: timed steps of each.
        warmup: steps of each before.
    """
    steps = {name: training_step(network, past, future) for name, network in networks.items()}
    for step in steps.values():
        for _ in range(warmup):
            step()
    wall: dict[str, list[float]] = {name: [] for name in networks}
    cpu: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, step in steps.items():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            step()
            cpu[name].append(time.process_time() - begin_cpu)
            wall[name].append(time.perf_counter() - begin)
    return [
        StepTimes(
            name,
            sum(parameter.numel() for parameter in network.parameters()),
            median(wall[name]),
            median(cpu[name]),
            rounds,
        )
        for name, network in networks.items()
    ]


def profile_lines(network: ForecastNetwork, past: Tensor, future: Tensor, lines: int = 12) -> str:
    """The operations on which a training step spends most."""
    step = training_step(network, past, future)
    step()
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        step()
    return watched.key_averages().table(
        sort_by="self_cpu_time_total", row_limit=lines, max_name_column_width=44
    )
