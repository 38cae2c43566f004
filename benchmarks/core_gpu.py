"""The core on a GPU: a training step in bfloat16 against the bare grouped matrix products.

    ./just bench core_gpu [--json FILE] [--rounds 20]

At (tokens 32768, dim 4096, hidden 1536, experts 128, k 8) and (16384, 1024, 512, 64, 6): sort,
gather, experts, combine and their derivatives. `share_of_bare` is the rate relative to the products
alone; 0.8 is the aim. transformers' grouped_mm runs beside it, if it is installed.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from harness.contenders import Layer, Shape
from harness.machine import machine
from torch.nn import functional as F

SHAPES = (Shape(32768, 4096, 1536, 128, 8), Shape(16384, 1024, 512, 64, 6))


def bare(layer: Layer) -> Callable[[], None]:
    """The six grouped products of a step, on rows that lie ready."""
    shape, experts = layer.shape, layer.experts
    index = layer.index.flatten()
    offsets = torch.bincount(index, minlength=shape.experts).cumsum(0, dtype=torch.int32)
    rows = torch.randn(len(index), shape.dim, dtype=layer.dtype, device=index.device)
    both = torch.randn(len(index), 2 * shape.hidden, dtype=layer.dtype, device=index.device)
    hidden = both[:, : shape.hidden].contiguous()
    gate_up, down = experts.gate_up.detach(), experts.down.detach()

    def run() -> None:
        F.grouped_mm(rows, gate_up.mT, offs=offsets)
        F.grouped_mm(hidden, down.mT, offs=offsets)
        F.grouped_mm(rows, down, offs=offsets)
        F.grouped_mm(rows.mT, hidden, offs=offsets)
        F.grouped_mm(both, gate_up, offs=offsets)
        F.grouped_mm(both.mT, rows, offs=offsets)

    return run


def seconds(function: Callable[[], object], rounds: int) -> float:
    """Median seconds of a call on the device."""
    for _ in range(3):
        function()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return sorted(times)[rounds // 2]


def measure(shape: Shape, rounds: int) -> list[dict]:
    """One row for each contender."""
    with torch.device("cuda"):
        layer = Layer(shape, torch.bfloat16)
        grad = torch.randn_like(layer.x)
        everyone = {"bare": bare(layer)}
        for name in ("auto", "grouped_mm"):
            everyone[name] = layer.dispatch(name).step(layer.x, layer.weight, grad)
        peer = layer.transformers("grouped_mm")
        if peer is not None:
            everyone["transformers grouped_mm"] = peer.step(layer.x, layer.weight, grad)
        rows = []
        for name, step in everyone.items():
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
            taken = seconds(step, rounds)
            flops = 18 * shape.tokens * shape.k * shape.dim * shape.hidden
            rows.append(
                {
                    "shape": str(shape),
                    "dtype": "bfloat16",
                    "mode": "forward+backward",
                    "dispatch": name,
                    "seconds": taken,
                    "teraflops": flops / taken / 1e12,
                    "peak_bytes": torch.cuda.max_memory_allocated() - held,
                }
            )
    for row in rows:
        row["share_of_bare"] = rows[0]["seconds"] / row["seconds"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write one object per row")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "this benchmark needs a CUDA device, and torch finds none; see `./just bench core`"
        )
    print("\n".join(f"- {key}: {value}" for key, value in machine().items()))
    rows = []
    for shape in SHAPES:
        part = measure(shape, arguments.rounds)
        rows += part
        print(f"\n{shape}\n| dispatch | ms | TFLOP/s | share of bare | MB |\n|---|---|---|---|---|")
        for row in part:
            print(
                f"| {row['dispatch']} | {row['seconds'] * 1e3:.2f} | {row['teraflops']:.0f} | "
                f"{row['share_of_bare']:.2f} | {row['peak_bytes'] / 1e6:.0f} |"
            )
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
