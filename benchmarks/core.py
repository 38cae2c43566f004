"""The core's dispatches beside a dense layer, the bare matrix products and other libraries.

    ./just bench core [--json FILE] [--markdown FILE] [--shapes 0,1] [--rounds 5]

Process CPU time of one thread, the median of interleaved rounds; ratios below 1 are faster. Each
json row: shape, dtype, mode, dispatch, seconds, ratio_dense, ratio_bare, ratio_best_peer,
peak_bytes, ratio_plain_bytes.
"""

import argparse
import json
import os
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
)
COLUMNS = ("seconds", "ratio_dense", "ratio_bare", "ratio_best_peer", "ratio_plain_bytes")


def measure(shape: Shape, dtype: torch.dtype, mode: str, rounds: int) -> list[dict]:
    """One row for each contender."""
    layer = Layer(shape, dtype)
    backward = mode == "forward+backward"
    contenders = layer.contenders(backward)
    grad = torch.randn_like(layer.x) if backward else None
    steps = {name: c.step(layer.x, layer.weight, grad) for name, c in contenders.items()}
    seconds = interleaved(steps, rounds)
    peaks = {name: peak_bytes(step) for name, step in steps.items()}
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
            "peak_bytes": peaks[name],
            "ratio_plain_bytes": peaks[name] / peaks["plain_loop"],
        }
        for name, value in seconds.items()
    ]


def table(rows: list[dict]) -> str:
    """The rows of one shape, precision and mode as a Markdown table."""
    best = min(row["seconds"] for row in rows if row["dispatch"] in DISPATCHES)
    lines = [
        "| dispatch | ms | / dense | / bare | / best peer | / best dispatch | MB | / plain loop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = "" if row["ratio_best_peer"] is None else f"{row['ratio_best_peer']:.2f}"
        lines.append(
            f"| {row['dispatch']} | {row['seconds'] * 1e3:.3f} | {row['ratio_dense']:.2f} | "
            f"{row['ratio_bare']:.2f} | {peer} | {row['seconds'] / best:.2f} | "
            f"{row['peak_bytes'] / 1e6:.2f} | {row['ratio_plain_bytes']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write one object per row")
    parser.add_argument("--markdown", type=Path, help="write the tables, with what they ran on")
    parser.add_argument("--shapes", default="", help=f"numbers from 0 to {len(SHAPES) - 1}")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [int(n) for n in arguments.shapes.split(",") if n] or range(len(SHAPES))
    told = "\n".join(f"- {key}: {value}" for key, value in machine().items())
    rows, text = [], [f"# Dispatches of the core\n\n{told}\n\n```\n{__doc__.strip()}\n```"]
    print(told)
    for number in chosen:
        for dtype in (torch.float32, torch.bfloat16):
            for mode in ("forward", "forward+backward"):
                part = measure(SHAPES[number], dtype, mode, arguments.rounds)
                rows += part
                title = f"{part[0]['shape']}, {part[0]['dtype']}, {mode}"
                text.append(f"## {title}\n\n{table(part)}")
                print(f"\n{title}\n{table(part)}", flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
                if arguments.markdown:
                    arguments.markdown.write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
