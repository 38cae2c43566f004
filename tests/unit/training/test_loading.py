from itertools import chain

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from mixtura.training import ResumableLoader, resumable


def loader(samples: int, batch: int, **options) -> DataLoader:
    return DataLoader(TensorDataset(torch.arange(samples)), batch_size=batch, **options)


def values(batches) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


@given(
    samples=st.integers(1, 30), batch=st.integers(1, 7), cut=st.integers(0, 40), drop=st.booleans()
)
def test_resume_gives_the_batches_that_were_left(
    samples: int, batch: int, cut: int, drop: bool
) -> None:
    def make() -> ResumableLoader:
        return resumable(loader(samples, batch, shuffle=True, drop_last=drop))

    straight = make()
    epochs = [values(straight) for _ in range(3)]
    if not epochs[0]:
        return
    flat = [(e, b) for e, epoch in enumerate(epochs) for b in epoch]
    cut = max(1, cut % len(flat))
    first = make()
    given: list[tuple[int, list[int]]] = []
    state = first.state_dict()
    for epoch in range(3):
        for each in first:
            given.append((epoch, each[0].tolist()))
            state = first.state_dict()
            if len(given) == cut:
                break
        if len(given) >= cut:
            break
    second = make()
    if cut:
        second.load_state_dict(state)
    rest = []
    while len(given) + len(rest) < len(flat):
        rest += values(second)
    assert [b for _, b in given[:cut]] + rest == [b for _, b in flat]


def test_epochs_differ_and_cover() -> None:
    wrapped = resumable(loader(20, 4, shuffle=True))
    one, two = values(wrapped), values(wrapped)
    assert one != two
    assert sorted(list(chain(*one))) == sorted(list(chain(*two))) == list(range(20))


def test_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    values(resumable(loader(9, 2, shuffle=True)))
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_share_one_order() -> None:
    parts = [values(resumable(loader(10, 2, shuffle=True), 2, rank)) for rank in range(2)]
    whole = values(resumable(loader(10, 4, shuffle=True)))
    for step, batch in enumerate(whole[:2]):
        assert sorted(parts[0][step] + parts[1][step]) == sorted(batch)
    assert len(parts[0]) == len(parts[1]) == 3


def test_samplers_and_workers_are_kept() -> None:
    weights = WeightedRandomSampler([0.0, 1.0, 1.0], 6, replacement=True)
    wrapped = resumable(loader(3, 2, sampler=weights))
    assert len(wrapped) == 3
    assert 0 not in list(chain(*values(wrapped)))
    plain = values(resumable(loader(7, 2, shuffle=False)))
    assert plain == values(loader(7, 2))
    unbatched = resumable(loader(3, None, shuffle=False))
    assert [int(item[0]) for item in unbatched] == [0, 1, 2]


def test_streams_are_left_alone() -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(3))

    for each in (DataLoader(Stream()), [1, 2], resumable(loader(2, 1))):
        assert resumable(each) is each
