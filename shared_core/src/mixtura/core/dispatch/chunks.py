"""Rows in the experts' order, cut into pieces of work that stay in the cache."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from mixtura.core.experts.layouts import Pieces

__all__ = ["Chunk", "chunks_of"]

ROWS = 2048
SLACK = 1.5  # an expert is cut only when it has this many times the rows of a chunk


class Chunk(NamedTuple):
    """Neighbours in the experts' order.

    Attributes:
        start: position of the first assignment.
        stop: position behind the last one.
        layout: the pieces, one for each expert that takes part.
    """

    start: int
    stop: int
    layout: Pieces


def chunks_of(
    counts: Sequence[int], inner: int = 1, *, cut: bool = True, rows: int | None = None
) -> list[Chunk]:
    """Chunks of a few rows: several small experts together, a large one in equal parts.

    Args:
        counts: assignments of each expert.
        inner: rows of an assignment.
        cut: whether an expert may be in more than one chunk. Its gradients are then sums of parts,
            which costs digits in half precision.
        rows: about how many in a chunk; `ROWS` when not given.
    """
    most = max(1, (ROWS if rows is None else rows) // inner)
    found: list[Chunk] = []
    experts: list[int] = []
    sizes: list[int] = []
    first: list[bool] = []
    start = stop = 0
    for expert, count in enumerate(counts):
        parts = -(-count // most) if cut and count > SLACK * most else 1
        bounds = [count * part // parts for part in range(parts + 1)] if count else []
        for low, high in pairwise(bounds):
            if sizes and stop - start + high - low > most:
                found.append(Chunk(start, stop, Pieces(experts, sizes, first)))
                experts, sizes, first, start = [], [], [], stop
            experts.append(expert)
            sizes.append((high - low) * inner)
            first.append(low == 0)
            stop += high - low
    if sizes:
        found.append(Chunk(start, stop, Pieces(experts, sizes, first)))
    return found
