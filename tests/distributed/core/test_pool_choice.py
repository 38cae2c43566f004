"""Every rank of a data-parallel run has the thresholds of all."""

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from mixtura.core import LinearScore, PoolChoice, Router

WORLD = 2


def router() -> Router:
    torch.manual_seed(0)
    return Router(LinearScore(3, 2), PoolChoice(2, decay=0.5))


def inputs(rank: int) -> torch.Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(rank))


def work(rank: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD
    )
    own = router()
    for _ in range(2):
        own(inputs(rank))
    torch.save(own.selection.threshold, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_thresholds_are_the_mean_over_ranks(tmp_path: Path):
    multiprocessing.start_processes(work, (str(tmp_path),), nprocs=WORLD, start_method="fork")
    thresholds = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]
    assert torch.equal(*thresholds)
    kth = torch.stack([router()(inputs(r)).scores.topk(3, dim=0).values[-1] for r in range(WORLD)])
    torch.testing.assert_close(thresholds[0], 0.75 * kth.mean(0))
