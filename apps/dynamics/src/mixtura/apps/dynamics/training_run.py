"""One training without Lightning: what the benchmark and the demo repeat many times."""

import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mixtura.apps.dynamics.configurations import build
from mixtura.dynamics.data import EnvironmentsDataModule
from mixtura.dynamics.evaluation import evaluate
from mixtura.dynamics.module import DynamicsModule
from mixtura.dynamics.training import StepReport

__all__ = ["Run", "Watcher", "hardware", "train"]

Watcher = Callable[[int, DynamicsModule, StepReport], None]


@dataclass
class Run:
    """What one training gave.

    Attributes:
        seed: of weights and random choices.
        gradient_steps: how many were done.
        train_cpu_seconds: processor time of training alone.
        train_seconds: wall time of training alone.
        adapt_cpu_seconds: processor time of evaluation, adaptation included.
        scores: what `evaluate` says.
        losses: loss of each outer step.
        left_out: gradient steps that were left out because they were not finite.
        parameters: scalars of weights and gate.
        hardware: processor, threads and versions.
        commit: of the repository, where there is one.
    """

    seed: int
    gradient_steps: int = 0
    train_cpu_seconds: float = 0.0
    train_seconds: float = 0.0
    adapt_cpu_seconds: float = 0.0
    scores: dict[str, Any] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    left_out: int = 0
    parameters: int = 0
    hardware: str = ""
    commit: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def train(
    tree: Mapping[str, Any], seed: int, watch: Watcher | None = None
) -> tuple[Run, DynamicsModule, EnvironmentsDataModule]:
    """Train what a configuration says and score it.

    Args:
        tree: of the configuration.
        seed: of weights and of the recipe's generator.
        watch: called after each outer step.
    """
    module, data = build(tree, seed)
    torch.set_num_threads(module.num_threads or torch.get_num_threads())
    system, recipe = module.network, module.recipe
    if module.standardise:
        system.standardise(data.train)
    scaled = system.scaled(data.train)
    generator = torch.Generator().manual_seed(seed)
    optimisers = recipe.optimisers(system)
    run = Run(seed, hardware=hardware(), commit=commit())
    run.parameters = sum(p.numel() for p in system.mixer.parameters())
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(recipe.outer_steps):
        report = recipe.step(number, system, scaled, optimisers, generator)
        run.losses.append(report.loss)
        run.left_out += sum("left out" in sentence for sentence in report.failures)
        if watch is not None:
            watch(number, module, report)
    run.gradient_steps = recipe.outer_steps * recipe.gradient_steps
    run.train_cpu_seconds = time.process_time() - cpu
    run.train_seconds = time.perf_counter() - wall
    cpu = time.process_time()
    run.scores = evaluate(system, data.data, module.adaptation)
    run.adapt_cpu_seconds = time.process_time() - cpu
    return run, module, data


def hardware() -> str:
    """Processor, threads and version of torch, in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {torch.get_num_threads()} thread, torch {torch.__version__}"


def commit() -> str:
    """The repository's commit, or nothing outside of one."""
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""
