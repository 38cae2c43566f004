"""What every data module has to do."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mixtura.core import from_config, to_config
from mixtura.training.loading import resumable
from mixtura.training.testing.cases import DataCase, tensors

__all__ = ["data_checks", "slow_data_checks"]


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists of batches are equal, bitwise."""
    left, right = tensors(one), tensors(other)
    return len(left) == len(right) and all(map(torch.equal, left, right))


def check_batches(case: DataCase, folder: Path) -> None:
    """Batches hold finite numbers, float32 where they are not integers."""
    data = case.ready(folder)
    for split in case.splits:
        batches = case.batches(data, split)
        assert batches, split
        for value in tensors(batches):
            assert not value.is_floating_point() or value.dtype == torch.float32
            assert torch.isfinite(value).all()


def check_setup(case: DataCase, folder: Path) -> None:
    """Set up twice, or for one stage alone, it gives the same data."""
    once, twice = case.ready(folder), case.ready(folder)
    for stage in ("fit", "validate", "test"):
        twice.setup(stage)
    for split, stage in zip(("train", "val", "test"), ("fit", "validate", "test"), strict=True):
        if split not in case.splits:
            continue
        alone = case.build(folder)
        alone.prepare_data()
        alone.setup(stage)
        expected = case.batches(once, split)
        assert same(case.batches(twice, split), expected)
        assert same(case.batches(alone, split), expected)


def check_seed(case: DataCase, folder: Path) -> None:
    """The same seed gives the same batches, another one another order of the same samples."""
    expected = case.samples(case.ready(folder), "train")
    assert case.samples(case.ready(folder), "train") == expected
    if case.seeded is None:
        return
    other = case.samples(case.ready(folder, **{case.seeded: 12345}), "train")
    assert other != expected
    assert set(other) == set(expected)


def check_splits(case: DataCase, folder: Path) -> None:
    """No sample is in two splits; none is lost or given twice, the last partial batch included."""
    data = case.ready(folder)
    seen: dict[Any, str] = {}
    for split in case.splits:
        found = case.samples(data, split)
        if not (case.repeats and split == "train"):
            assert len(set(found)) == len(found), split
        for one in set(found):
            assert one not in seen, f"a sample of {split} is in {seen[one]} as well"
            seen[one] = split


def check_epochs(case: DataCase, folder: Path) -> None:
    """Every epoch holds the same samples; evaluation is in the same order each time."""
    data = case.ready(folder)
    loader = data.train_dataloader()
    first, second = ([one for b in loader for one in case.identity(b)] for _ in range(2))
    assert set(first) == set(second)
    for split in set(case.splits) - {"train"}:
        assert case.samples(data, split) == case.samples(data, split)


def check_resume(case: DataCase, folder: Path) -> None:
    """Saved in the middle of an epoch, the training loader goes on with the very next batch."""
    whole = resumable(case.ready(folder).train_dataloader())
    list(whole)
    expected = list(whole)
    assert len(expected) > 1
    for taken in (1, len(expected) // 2, len(expected) - 1):
        stopped = resumable(case.ready(folder).train_dataloader())
        list(stopped)
        batches = iter(stopped)
        begun = [next(batches) for _ in range(taken)]
        again = resumable(case.ready(folder).train_dataloader())
        again.load_state_dict(stopped.state_dict())
        assert same(begun + list(again), expected)


def check_configuration(case: DataCase, folder: Path) -> None:
    """The configuration builds an equal data module, before and after it was set up."""
    data = case.ready(folder)
    tree = to_config(data)
    assert tree == to_config(case.build(folder))
    again = from_config(tree)
    assert to_config(again) == tree
    again.prepare_data()
    again.setup("fit")
    assert same(case.batches(again, "train"), case.batches(case.ready(folder), "train"))


def check_workers(case: DataCase, folder: Path) -> None:
    """The number of worker processes does not change the data."""
    if case.workers is None:
        return
    expected = case.batches(case.ready(folder), "train")
    found = case.batches(case.ready(folder, **{case.workers: 2}), "train")
    assert same(found, expected)


def in_folder(
    check: Callable[[DataCase, Path], None],
) -> Callable[[DataCase], None]:
    """A check with a folder of its own."""

    def checked(case: DataCase) -> None:
        with tempfile.TemporaryDirectory() as folder:
            check(case, Path(folder))

    checked.__name__, checked.__doc__ = check.__name__, check.__doc__
    return checked


data_checks: list[Callable[[DataCase], None]] = [
    in_folder(check)
    for check in (
        check_batches,
        check_setup,
        check_seed,
        check_splits,
        check_epochs,
        check_resume,
        check_configuration,
    )
]

slow_data_checks: list[Callable[[DataCase], None]] = [in_folder(check_workers)]
