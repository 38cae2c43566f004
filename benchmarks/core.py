"""The core's dispatches beside a dense layer, the bare matrix products and other libraries.

    ./just bench core [--json FILE] [--markdown FILE] [--shapes 0,1] [--rounds 5] [--minutes 60]

Process CPU time of one thread, the median of interleaved rounds; ratios below 1 are faster. Each
json row: shape, dtype, mode, dispatch, seconds, ratio_dense, ratio_bare, ratio_best_peer,
ratio_best_dispatch, peak_bytes, ratio_plain_bytes. `bare` are the matrix products alone, into
memory that is there; `bare, fresh gradients` writes the gradients of the weights into new memory,
as every training step that begins with `zero_grad()` has to. `auto` and what it takes run the same
code: their difference is the noise of a table.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ.setdefault("KINETO_LOG_LEVEL", "5")

import torch
from harness.contenders import DISPATCHES, Layer, Shape
from harness.machine import machine
from harness.measure import interleaved, peak_bytes

SHAPES = (
    Shape(512, 32, 64, 4, 1),
    Shape(4096, 256, 512, 8, 2),
    Shape(16384, 64, 128, 8, 2),
    Shape(1024, 512, 1024, 64, 6),
    # Seg-MoE on ETTh1 (segmoe/etth1-96): 32 windows of 7 variates in 64 patches, padded
    Shape(32 * 7 * 22 * 3, 64, 128, 4, 1, segment=3, name="segmoe/etth1-96 layer 1"),
    Shape(32 * 7 * 13 * 5, 64, 128, 4, 1, segment=5, name="segmoe/etth1-96 layers 2 to 4"),
    # Time-MoE 50M (timemoe/pretrain): one of its packed sequences
    Shape(4096, 384, 1536 // 2, 8, 2, name="timemoe/pretrain, 1 sequence of 16"),
)
DTYPES = (torch.float32, torch.bfloat16)
MODES = ("forward", "forward+backward")


def measure(shape: Shape, dtype: torch.dtype, mode: str, rounds: int) -> list[dict]:
    """One row for each contender."""
    layer = Layer(shape, dtype)
    backward = mode == "forward+backward"
    contenders = layer.contenders(backward)
    grad = torch.randn_like(layer.x) if backward else None
    steps = {name: c.step(layer.x, layer.weight, grad) for name, c in contenders.items()}
    seconds = interleaved(steps, rounds)
    peaks = {name: peak_bytes(step, contenders[name].forget) for name, step in steps.items()}
    best = min(value for name, value in seconds.items() if name in DISPATCHES)
    peers = [value for name, value in seconds.items() if "transformers" in name or "st-moe" in name]
    return [
        {
            "shape": str(shape),
            "dtype": str(dtype).removeprefix("torch."),
            "mode": mode,
            "dispatch": name,
            "seconds": value,
            "ratio_dense": value / seconds["dense"],
            "ratio_bare": value / seconds["bare"],
            "ratio_best_peer": value / min(peers) if peers else None,
            "ratio_best_dispatch": value / best,
            "peak_bytes": peaks[name],
            "ratio_plain_bytes": peaks[name] / peaks["plain_loop"],
        }
        for name, value in seconds.items()
    ]


def table(rows: list[dict]) -> str:
    """The rows of one shape, precision and mode as a Markdown table."""
    lines = [
        "| dispatch | ms | / dense | / bare | / best peer | / best dispatch | MB | / plain loop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = "" if row["ratio_best_peer"] is None else f"{row['ratio_best_peer']:.2f}"
        lines.append(
            f"| {row['dispatch']} | {row['seconds'] * 1e3:.3f} | {row['ratio_dense']:.2f} | "
            f"{row['ratio_bare']:.2f} | {peer} | {row['ratio_best_dispatch']:.2f} | "
            f"{row['peak_bytes'] / 1e6:.2f} | {row['ratio_plain_bytes']:.2f} |"
        )
    return "\n".join(lines)


def written(rows: list[dict], told: str, command: str) -> str:
    """The whole report."""
    about = (__doc__ or "").strip()
    text = [f"# Dispatches of the core\n\n{told}\n\n```\n{about}\n\nrun: {command}\n```"]
    parts: dict[tuple[str, str, str], list[dict]] = {}
    for row in rows:
        parts.setdefault(part_of(row), []).append(row)
    text += [f"## {', '.join(part)}\n\n{table(found)}" for part, found in parts.items()]
    return "\n\n".join(text) + "\n"


def part_of(row: dict) -> tuple[str, str, str]:
    """What a row belongs to: shape, precision and mode."""
    return row["shape"], row["dtype"], row["mode"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--json",
        type=Path,
        help="write one object per row; what the file has already is not run again",
    )
    parser.add_argument("--markdown", type=Path, help="write the tables, with what they ran on")
    parser.add_argument("--shapes", default="", help=f"numbers from 0 to {len(SHAPES) - 1}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin nothing new after these")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [int(n) for n in arguments.shapes.split(",") if n] or range(len(SHAPES))
    told = "\n".join(f"- {key}: {value}" for key, value in machine().items())
    command = f"./just bench core --rounds {arguments.rounds} (and where to write)"
    rows: list[dict] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())
    order = [
        (str(SHAPES[number]), str(dtype).removeprefix("torch."), mode)
        for number in range(len(SHAPES))
        for dtype in DTYPES
        for mode in MODES
    ]
    begun = time.monotonic()
    print(told)
    for number in chosen:
        for dtype, mode in itertools.product(DTYPES, MODES):
            part = str(SHAPES[number]), str(dtype).removeprefix("torch."), mode
            if any(part_of(row) == part for row in rows):
                continue
            if time.monotonic() - begun > 60 * arguments.minutes:
                print("\ntime is up; run the same command again for what is missing")
                return
            found = measure(SHAPES[number], dtype, mode, arguments.rounds)
            rows = sorted([*rows, *found], key=lambda row: order.index(part_of(row)))
            print(f"\n{', '.join(part)}\n{table(found)}", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
            if arguments.markdown:
                arguments.markdown.write_text(written(rows, told, command))


if __name__ == "__main__":
    main()
