import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mixtura.datasets import (
    BinarySequences,
    InputError,
    JoinedSequences,
    MaxNormalisation,
    MemorySequences,
    NoNormalisation,
    PackedWindows,
    SequenceDataModule,
    SequenceWindows,
    ZeroNormalisation,
    open_sequences,
    write_binary_folder,
)

W = 4


def ramp(*lengths: int) -> MemorySequences:
    """Sequences 1, 2, 3, ... and 101, 102, ... and so on."""
    return MemorySequences([100.0 * i + np.arange(1, n + 1) for i, n in enumerate(lengths)], "ramp")


def windows(*lengths: int, stride: int | None = None) -> SequenceWindows:
    return SequenceWindows(ramp(*lengths), W, stride, NoNormalisation())


@pytest.mark.parametrize(
    ("points", "count"), [(2, 1), (W, 1), (W + 1, 1), (W + 2, 1), (2 * W, 1), (2 * W + 1, 2)]
)
def test_the_number_of_windows(points: int, count: int) -> None:
    assert len(windows(points)) == count


def test_windows_with_stride_one() -> None:
    # Offsets 0, 1, 2 of seven points: offset 2 needs points 2..6, offset 3 would need 3..7.
    found = windows(7, stride=1)
    assert len(found) == 3
    assert found.window(2).inputs.tolist() == [3, 4, 5, 6]
    assert found.window(2).labels.tolist() == [4, 5, 6, 7]


def test_a_short_sequence_is_padded_on_the_right() -> None:
    window = windows(2).window(0)
    assert window.inputs.tolist() == [1, 2, 0, 0]
    assert window.labels.tolist() == [2, 0, 0, 0]
    assert window.loss_mask.tolist() == [1, 0, 0, 0]
    assert window.segments.tolist() == [0, 0, -1, -1]
    full = windows(W + 1).window(0)
    assert full.labels.tolist() == [2, 3, 4, 5]
    assert full.loss_mask.tolist() == [1, 1, 1, 1]


def test_windows_run_through_the_sequences_in_order() -> None:
    found = windows(9, 1, 0, 3)
    assert len(found) == 3
    assert found.window(1).inputs.tolist() == [5, 6, 7, 8]
    assert found.window(1).labels.tolist() == [6, 7, 8, 9]
    assert found.window(2).inputs.tolist() == [301, 302, 303, 0]


def test_packing_wastes_nothing() -> None:
    # 1 2 3 | 101 102 103 104 105 | 301 302; the sequence of one point is left out.
    packed = PackedWindows(ramp(3, 5, 1, 2), W, NoNormalisation())
    assert len(packed) == 3
    first, second, third = (packed.window(i) for i in range(3))
    assert first.inputs.tolist() == [1, 2, 3, 101]
    assert first.labels.tolist() == [2, 3, 101, 102]
    assert first.loss_mask.tolist() == [1, 1, 0, 1]
    assert first.segments.tolist() == [0, 0, 0, 1]
    assert second.inputs.tolist() == [102, 103, 104, 105]
    assert second.loss_mask.tolist() == [1, 1, 1, 0]
    assert third.inputs.tolist() == [301, 302, 0, 0]
    assert third.loss_mask.tolist() == [1, 0, 0, 0]
    plain = PackedWindows(ramp(3, 5, 1, 2), W, NoNormalisation(), mask_joints=False)
    assert plain.window(0).loss_mask.tolist() == [1, 1, 1, 1]


def test_normalisation_uses_the_whole_sequence() -> None:
    # 1..5: mean 3, population deviation sqrt(2).
    zero = SequenceWindows(ramp(5), W, normalisation=ZeroNormalisation()).window(0)
    np.testing.assert_allclose(zero.inputs, (np.array([1, 2, 3, 4]) - 3) / np.sqrt(2))
    largest = SequenceWindows(ramp(5), W, normalisation=MaxNormalisation()).window(0)
    np.testing.assert_allclose(largest.labels, [0.4, 0.6, 0.8, 1.0])
    flat = MemorySequences([np.full(5, 0.1)], "flat")
    np.testing.assert_allclose(SequenceWindows(flat, W).window(0).inputs, 0, atol=1e-15)


def test_a_sequence_across_two_files(tmp_path: Path) -> None:
    folder = write_binary_folder([np.arange(6), np.arange(10, 16)], tmp_path / "b", 8)
    assert sorted(p.name for p in folder.iterdir()) == [
        "data-1-of-2.bin",
        "data-2-of-2.bin",
        "meta.json",
    ]
    reader = BinarySequences(folder)
    assert reader.lengths.tolist() == [6, 6]
    assert reader.read(1, 0, 6).tolist() == [10, 11, 12, 13, 14, 15]
    assert reader.read(1, 1, 3).tolist() == [11, 12]
    assert reader.read(1, 3, 99).tolist() == [13, 14, 15]
    again = pickle.loads(pickle.dumps(reader))
    assert again.read(1, 1, 5).tolist() == [11, 12, 13, 14]


def test_files_in_the_order_of_their_numbers_and_scales(tmp_path: Path) -> None:
    points = np.arange(11, dtype="<f8")
    files = {}
    for number in range(1, 12):
        name = f"data-{number}-of-11.bin"
        points[number - 1 : number].tofile(tmp_path / name)
        files[name] = 1
    shuffled = dict(sorted(files.items()))  # data-10 before data-2
    scales = [{"offset": 0, "length": 11, "mean": 5.0, "std": 2.0}, {"offset": 3, "length": 4}]
    meta = {"num_sequences": 2, "dtype": "float64", "files": shuffled, "scales": scales}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    reader = open_sequences(tmp_path)
    np.testing.assert_allclose(reader.read(0, 0, 11), points * 2 + 5)
    assert reader.read(1, 0, 4).tolist() == [3, 4, 5, 6]


def test_everyday_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('[1, 2, 3]\n\n{"sequence": [4, 5], "id": "x"}\n')
    (tmp_path / "b.json").write_text('[[1.5, 2.5], {"sequence": [6]}]')
    (tmp_path / "c.npy").write_bytes(b"")
    np.save(tmp_path / "c.npy", np.array([[1, 2], [3, 4]]))
    with gzip.open(tmp_path / "d.npy.gz", "wb") as stream:
        np.save(stream, np.array([7.0, 8.0]))
    np.savez(tmp_path / "e.npz", one=np.array([1.0, 2.0]), two=np.array([[3.0], [4.0]]))
    (tmp_path / "f.yaml").write_text("- [1, 2]\n- sequence: [3, 4, 5]\n")
    (tmp_path / "README.md").write_text("not data")
    write_binary_folder([np.arange(3)], tmp_path / "deep" / "er")
    reader = open_sequences(tmp_path)
    assert isinstance(reader, JoinedSequences)
    # Files of the folder itself come first, then sub-folders.
    assert reader.lengths.tolist() == [3, 2, 2, 1, 2, 2, 2, 2, 1, 1, 2, 3, 3]
    assert reader.read(4, 0, 2).tolist() == [1, 2]
    assert reader.read(5, 0, 2).tolist() == [3, 4]
    assert reader.read(6, 0, 2).tolist() == [7, 8]
    assert reader.read(11, 1, 3).tolist() == [4, 5]
    assert reader.read(12, 0, 3).tolist() == [0, 1, 2]
    assert reader.label(1) == f"sequence 1 of {tmp_path / 'a.jsonl'}"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.pkl", b"cos\nsystem\n", "is a pickle, and loading one can run any code"),
        ("a.pickle", b"x", "is a pickle"),
        ("a.csv", b"1,2", "is of no kind that is read"),
        ("a.jsonl", b"[1, 2\n", "cannot be read"),
        ("a.json", b'[["x"]]', r"item 0 of .* should be a list of numbers"),
        ("a.json", b'[{"values": [1]}]', r"item 0 of .* should be a list of numbers"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("a.npy.gz", b"nothing", "cannot be read"),
        ("a.npz", b"PK\x03\x04", "cannot be read"),
        ("a.yaml", b"[1, 2", "cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        open_sequences(tmp_path / name)


def test_an_array_of_objects_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "bomb.npy", np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "bomb.npz", x=np.array([Bomb()], dtype=object))
    for name in ("bomb.npy", "bomb.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            open_sequences(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file or folder"):
        open_sequences(tmp_path / "none")
    with pytest.raises(InputError, match="holds no sequences"):
        open_sequences(tmp_path)
    folder = write_binary_folder([np.arange(9)], tmp_path / "b", 4)
    with pytest.raises(InputError, match="already holds a meta"):
        write_binary_folder([np.arange(9)], folder)
    with (folder / "data-2-of-3.bin").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match=r"data-2-of-3.bin has 17 bytes, expected 16 bytes"):
        open_sequences(folder)
    (folder / "data-2-of-3.bin").unlink()
    with pytest.raises(InputError, match="is missing"):
        open_sequences(folder)
    folder = write_binary_folder([np.arange(9)], tmp_path / "c", 4)
    meta = json.loads((folder / "meta.json").read_text())
    for change, sentence in (
        ({"num_sequences": 5}, "says num_sequences 5, but describes 1"),
        ({"scales": [{"offset": 3, "length": 7}], "files": {"data-1-of-3.bin": 4}}, "is damaged"),
        ({"dtype": "object"}, "should name a numeric dtype"),
        ({"dtype": "float33"}, "should hold dtype"),
        ({"files": {"first.bin": 4}}, r"called like data-1-of-4\.bin"),
    ):
        (folder / "meta.json").write_text(json.dumps({**meta, **change}))
        with pytest.raises(InputError, match=sentence):
            open_sequences(folder)


def test_sequences_that_cannot_be_trained_on() -> None:
    with pytest.raises(InputError, match=r"no sequence has 2 points or more \(2 sequences"):
        windows(1, 0)
    with pytest.raises(InputError, match="no sequence has 2 points"):
        PackedWindows(ramp(1, 1), W)
    with pytest.raises(InputError, match="the length of windows must be at least 1 point, got 0"):
        SequenceWindows(ramp(5), 0)
    holes = MemorySequences([np.array([1.0, np.nan, 3.0])], "holes")
    with pytest.raises(InputError, match="point 1 of sequence 0 of holes is nan"):
        SequenceWindows(holes, W).window(0)


def test_batches_of_a_folder_whoever_reads_them(tmp_path: Path) -> None:
    folder = write_binary_folder([np.arange(30), np.arange(50, 80)], tmp_path / "b", 37)
    options = {"path": str(folder), "max_length": W, "batch_size": 3, "normalisation": "none"}
    alone = list(SequenceDataModule(**options).train_dataloader())
    worked = list(SequenceDataModule(**options, num_workers=2).train_dataloader())
    assert [batch.index.tolist() for batch in alone] == [batch.index.tolist() for batch in worked]
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(alone, worked, strict=True))
    assert sorted(i for batch in alone for i in batch.index.tolist()) == list(range(14))
    for batch in alone:
        assert torch.equal(batch.labels, batch.inputs + 1)


def test_each_variate_of_a_registered_set_is_a_sequence() -> None:
    data = SequenceDataModule(name="etth1", max_length=512, packing=True)
    assert data.train_sequences.lengths.tolist() == [8640] * 7
    batch = next(iter(data.train_dataloader()))
    assert batch.inputs.shape == (16, 512)
    assert len(data.val_dataloader().source) == -(-(7 * 2880 - 1) // 512)
    with pytest.raises(InputError, match="packed windows do not overlap"):
        SequenceDataModule(packing=True, stride=1)
