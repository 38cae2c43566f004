"""Counts over all processes: losses and statistics."""

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from mixtura.core import LayerStatistics, LinearScore, LoadBalance, Router, TopK, load_balance

SIZES = (5, 9)


def router() -> Router:
    torch.manual_seed(0)
    return Router(LinearScore(4, 3, std=1.0), TopK(2))


def units(rank: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(SIZES[rank], 4, generator=generator)


def work(rank: int, folder: str) -> None:
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    call = router()(units(rank))
    loss = load_balance([call], across_ranks=True)
    statistics = LayerStatistics.of([call]).across_ranks()
    found = {"loss": loss.item(), "counts": statistics.counts, "units": statistics.num_units}
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_count_together(tmp_path: Path) -> None:
    multiprocessing.start_processes(work, (str(tmp_path),), nprocs=2, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    calls = [router()(units(rank)) for rank in range(2)]
    counts = calls[0].counts + calls[1].counts
    for rank in range(2):
        assert torch.equal(found[rank]["counts"], counts)
        assert int(found[rank]["units"]) == sum(SIZES)
        expected = 3 * (counts / counts.sum() * calls[rank].scores.mean(0)).sum()
        assert found[rank]["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_one_process_counts_alone() -> None:
    call = router()(units(0))
    assert load_balance([call], across_ranks=True).item() == load_balance([call]).item()
    assert LoadBalance(across_ranks=True)([call]).item() == load_balance([call]).item()
