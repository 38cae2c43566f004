"""Process CPU time and peak memory of a function."""

import random
import statistics
import time
from collections.abc import Callable, Mapping

import torch

SHORTEST = 0.05  # seconds that one measurement takes at least, by repetition


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each function over some rounds, in each of which all of them run.

    The order is another one in each round, and everyone runs once before it is timed: nobody always
    clears up after the same one, such as the pages of hundreds of megabytes of gradients.
    """
    repeats = {}
    for name, function in functions.items():
        function()
        repeats[name] = max(1, round(SHORTEST / max(_seconds(function, 1), 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds):
        for name in random.Random(number).sample(list(functions), len(functions)):
            functions[name]()
            seconds[name].append(_seconds(functions[name], repeats[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats


def peak_bytes(function: Callable[[], object], prepare: Callable[[], None]) -> int:
    """Most bytes that tensors made inside `function` take at one time, from the allocator's log.

    Args:
        function: what is measured.
        prepare: called before, to free what an earlier run has left.
    """
    prepare()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        function()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, held)
    return peak
