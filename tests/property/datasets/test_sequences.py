import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixtura.datasets import MemorySequences, NoNormalisation, PackedWindows, SequenceWindows

lengths = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda all: max(all) > 1)


def numbered(lengths: list[int]) -> list[np.ndarray]:
    """Points that tell their sequence and their place in it; none is 0."""
    return [1000.0 * i + np.arange(1, n + 1) for i, n in enumerate(lengths)]


@given(lengths=lengths, length=st.integers(1, 12), stride=st.integers(1, 12))
def test_windows_are_those_of_a_loop(lengths: list[int], length: int, stride: int) -> None:
    expected = []
    for sequence in numbered(lengths):
        starts = [0] if len(sequence) > 1 else []
        starts += [
            o for o in range(stride, len(sequence), stride) if o + length + 1 <= len(sequence)
        ]
        for start in starts:
            points = sequence[start : start + length + 1]
            padded = np.concatenate([points, np.zeros(length + 1 - len(points))])
            expected.append((padded[:-1].tolist(), padded[1:].tolist()))
    reader = MemorySequences(numbered(lengths), "numbered")
    windows = SequenceWindows(reader, length, stride, NoNormalisation())
    found = [windows.window(i) for i in range(len(windows))]
    assert [(w.inputs.tolist(), w.labels.tolist()) for w in found] == expected
    for window in found:
        assert (
            window.labels[window.loss_mask == 1] == window.inputs[window.loss_mask == 1] + 1
        ).all()


@given(lengths=lengths, length=st.integers(1, 12))
def test_packing_predicts_every_point_but_the_first_ones(lengths: list[int], length: int) -> None:
    sequences = [s for s in numbered(lengths) if len(s) > 1]
    packed = PackedWindows(MemorySequences(numbered(lengths), "n"), length, NoNormalisation())
    found = [packed.window(i) for i in range(len(packed))]
    inputs = np.concatenate([window.inputs[window.segments >= 0] for window in found])
    stream = np.concatenate(sequences)
    assert inputs.tolist() in (stream.tolist(), stream[:-1].tolist())
    labels = np.concatenate([window.labels[window.loss_mask == 1] for window in found])
    assert labels.tolist() == np.concatenate([s[1:] for s in sequences]).tolist()
    for window in found:
        used = window.loss_mask == 1
        assert (window.labels[used] == window.inputs[used] + 1).all()
