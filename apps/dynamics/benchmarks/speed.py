"""How long is an outer step of MixER on odebench4, and how long with a loop over environments?

    python apps/dynamics/benchmarks/speed.py [FILE.json]

Processor time of one thread, the least of several repeats: other work on the machine hardly counts.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mixtura.apps.dynamics.configurations import build, read
from mixtura.apps.dynamics.training_run import hardware
from mixtura.dynamics import MixER, Trajectories


def least(function: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def gradient_step(mixer: MixER, contexts: torch.Tensor, data: Trajectories) -> None:
    """Loss and all gradients, all environments in one solve."""
    states = mixer(contexts, data.x0, data.t).states
    (states - data.x).square().mean().backward()


def loop(mixer: MixER, contexts: torch.Tensor, data: Trajectories) -> None:
    """The same, one environment after the other."""
    for number in range(len(data)):
        one = slice(number, number + 1)
        gradient_step(mixer, contexts[one], data.select(one))


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    module, data = build(read("mixer/odebench4-pam"), 0)
    system, recipe, train = module.network, module.recipe, data.train
    optimisers, generator = recipe.optimisers(system), torch.Generator().manual_seed(0)
    numbers = iter(range(recipe.outer_steps))

    def outer_step() -> None:
        recipe.step(next(numbers), system, train, optimisers, generator)

    contexts = system.contexts.detach()
    outer_step()
    batched = least(lambda: gradient_step(system.mixer, contexts, train), 10)
    looped = least(lambda: loop(system.mixer, contexts, train), 3)
    result = {
        "question": "outer step of 24 gradient steps with 4 gate updates, odebench4",
        "outer_step_cpu_s": least(outer_step, 4),
        "gradient_step_cpu_s": batched,
        "gradient_step_looped_cpu_s": looped,
        "times_faster_than_loop": looped / batched,
        "hardware": hardware(),
    }
    text = json.dumps(result, indent=1) + "\n"
    sys.stdout.write(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)


if __name__ == "__main__":
    main()
