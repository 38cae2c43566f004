"""What the core costs when nothing of it is used.

    ./just bench idle [--markdown FILE]

The time to import it after torch, and how much slower a layer is because a record could be open and
edits could be there. Process CPU time of one thread: the median of processes, or of pairs of runs
in turn.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch
from harness.machine import machine

from mixtura.core import GLUExperts, LinearScore, MoELayer, Router, TopK

IMPORT = (
    "import time, torch; start = time.process_time(); import mixtura.core; "
    "print(time.process_time() - start)"
)
PAIRS = 200


def import_seconds(processes: int = 5) -> float:
    """CPU seconds of `import mixtura.core` when torch is there already."""
    run = [sys.executable, "-c", IMPORT]
    printed = [subprocess.check_output(run, text=True) for _ in range(processes)]
    return statistics.median(float(seconds) for seconds in printed)


def idle_record(tokens: int, dim: int) -> float:
    """Time of a layer as it is over the time of one that knows neither records nor edits."""
    layer = MoELayer(Router(LinearScore(dim, 8), TopK(2)), GLUExperts(8, dim, 2 * dim))
    router, x = layer.router, torch.randn(tokens, dim)

    def bare() -> torch.Tensor:
        scored = router.score(x)
        routing = router.selection(scored, num_experts=8)
        return layer.dispatch(layer.experts, x, routing)

    def whole() -> torch.Tensor:
        return layer(x)

    pairs = []
    for turn in range(PAIRS):
        order = (bare, whole) if turn % 2 else (whole, bare)
        seconds = {run: _seconds(run) for run in order}
        pairs.append(seconds[whole] / seconds[bare])
    return statistics.median(pairs)


def _seconds(run: Callable[[], torch.Tensor]) -> float:
    start = time.process_time()
    run().sum().backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--markdown", type=Path, help="write what is printed, and on what it ran")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [f"import of mixtura.core after torch: {import_seconds():.2f} s"]
    for tokens, dim in ((512, 32), (2048, 128)):
        ratio = idle_record(tokens, dim)
        lines.append(
            f"no record, no edits, {tokens} tokens of width {dim}: {ratio:.4f} of the parts alone"
        )
    print("\n".join(lines))
    if arguments.markdown:
        told = [f"- {key}: {value}" for key, value in machine().items()]
        found = [f"- {line}" for line in lines]
        about = f"```\n{(__doc__ or '').strip()}\n```"
        text = ["# An idle core", "\n".join(told), about, "\n".join(found)]
        arguments.markdown.write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
