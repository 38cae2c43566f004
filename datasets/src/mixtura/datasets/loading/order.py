"""Which windows go into which batch on which rank: told by seed, epoch and position alone."""

import numpy as np
from jaxtyping import Int

__all__ = ["evaluation_batches", "permutation", "training_batches"]

Numbers = Int[np.ndarray, " _"]


def permutation(windows: int, seed: int, epoch: int) -> Numbers:
    """The order of one epoch; any epoch's can be had without the ones before it."""
    return np.random.default_rng([seed, epoch]).permutation(windows)


def training_batches(order: Numbers, batch_size: int, rank: int, ranks: int) -> list[Numbers]:
    """The batches of one rank, `batch_size` windows each, as many on every rank.

    All ranks together walk through `order` in steps of `batch_size * ranks`, so two ranks with a
    batch size of 8 see in each step what one rank with 16 sees. The last step may be smaller; it
    is shared out evenly, with windows of it repeated if it does not divide.
    """
    step = batch_size * ranks
    batches = []
    for start in range(0, len(order), step):
        together = order[start : start + step]
        share = -(-len(together) // ranks)
        together = np.resize(together, share * ranks)
        batches.append(together[rank * share : (rank + 1) * share])
    return batches


def evaluation_batches(windows: int, batch_size: int, rank: int, ranks: int) -> list[Numbers]:
    """The batches of one rank, in order: every window once over all ranks, none dropped.

    Every rank gets the same number of batches as long as there are as many windows, so that ranks
    that have to meet in each step can.
    """
    if ranks == 1:
        return [
            np.arange(start, min(start + batch_size, windows))
            for start in range(0, windows, batch_size)
        ]
    mine = np.arange(rank, windows, ranks)
    longest = -(-windows // ranks)
    return [part for part in np.array_split(mine, -(-longest // batch_size)) if len(part)]
