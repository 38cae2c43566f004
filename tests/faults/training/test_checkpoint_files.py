"""Checkpoints that are cut off, altered, foreign or hostile: a sentence, and no code is run."""

import os
import pickle
import random
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from mixtura.core.errors import InputError
from mixtura.training import CheckpointError, VerifiedCheckpointIO, read_checkpoint
from mixtura.training.whole_files import sidecar, write_whole
from tests.e2e.training.toyapp.model import ToyClassifier, ToyModule
from tests.faults.training.runner import fit


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("good")
    fit(folder, folder / "log", max_epochs=1, num_samples=16)
    return folder / "checkpoints" / "last.ckpt"


def refused(path: Path) -> str:
    """The sentence with which `path` is refused."""
    with pytest.raises(CheckpointError) as caught:
        ToyModule.load_from_checkpoint(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_good_one_loads(good: Path) -> None:
    assert isinstance(ToyModule.load_from_checkpoint(good), ToyClassifier)


def test_missing(good: Path) -> None:
    assert "last.ckpt" in refused(good.with_name("lost.ckpt"))


def test_cut_off(good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    for number in range(50):
        path = tmp_path / "cut.ckpt"
        path.write_bytes(content[: len(content) * number // 50])
        refused(path)  # without a hash beside it
        shutil.copy(sidecar(good), sidecar(path))
        assert "altered or cut off" in refused(path)
        sidecar(path).unlink()


def test_flipped_bytes_are_found(good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    draw = random.Random(0)
    path = tmp_path / "flipped.ckpt"
    shutil.copy(sidecar(good), sidecar(path))
    for _ in range(200):
        altered = bytearray(content)
        altered[draw.randrange(len(altered))] ^= 1 << draw.randrange(8)
        path.write_bytes(altered)
        assert "altered or cut off" in refused(path)


class Bomb:
    """Writes a marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.marker}",))


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    plain, zipped = tmp_path / "bomb.pkl.ckpt", tmp_path / "bomb.ckpt"
    plain.write_bytes(pickle.dumps(Bomb(marker)))
    torch.save({"state_dict": {}, "hyper_parameters": Bomb(marker)}, zipped)
    for path in (plain, zipped):
        assert "could run commands" in refused(path)
        with pytest.raises(CheckpointError):
            VerifiedCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not marker.exists()


def test_a_hostile_tree_is_not_run(good: Path, tmp_path: Path) -> None:
    """The configuration tree of a checkpoint names a class; it must be one of ours to be built."""
    marker = tmp_path / "marker"
    checkpoint = torch.load(good, weights_only=True)
    checkpoint["hyper_parameters"] = {
        "class_path": "os.system",
        "init_args": {"command": f"touch {marker}"},
    }
    path = tmp_path / "hostile.ckpt"
    torch.save(checkpoint, path)
    refused(path)
    checkpoint["hyper_parameters"] = {
        "class_path": "subprocess.Popen",
        "init_args": {"args": ["touch", str(marker)]},
    }
    torch.save(checkpoint, path)
    refused(path)
    assert not marker.exists()


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "foreign.ckpt"
    for content in (
        b"",
        b"hello",
        b"\x89PNG\r\n",
        b"PK\x03\x04rest",
        b"\x80\x04K\x01.",
        os.urandom(999),
    ):
        path.write_bytes(content)
        refused(path)
    torch.save([1, 2], path)
    refused(path)
    torch.save({"weights": torch.ones(1)}, path)
    assert "state_dict" in refused(path)
    torch.save({"state_dict": {}}, path)
    assert "which model" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    refused(path)


def test_another_model_or_other_sizes(good: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(good, weights_only=True)
    path = tmp_path / "other.ckpt"
    network = checkpoint["hyper_parameters"]["init_args"]["network"]["init_args"]
    network["num_experts"] = 8
    torch.save(checkpoint, path)
    assert "another size" in refused(path)
    network["num_experts"] = 4
    network["num_expert"] = 4
    torch.save(checkpoint, path)
    assert "num_experts" in refused(path)
    del network["num_expert"]
    del checkpoint["state_dict"]["network.head.bias"]
    torch.save(checkpoint, path)
    assert "network.head.bias" in refused(path)


@pytest.mark.parametrize(
    "count", [150, pytest.param(1500, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_mutated_files(good: Path, tmp_path: Path, count: int) -> None:
    """Without a hash beside them: each loads or is refused with our error, nothing else."""
    content = good.read_bytes()
    path = tmp_path / "mutated.ckpt"
    refusals = []
    for number in range(count):
        draw = random.Random(number)
        path.write_bytes(mutated(content, draw))
        try:
            ToyModule.load_from_checkpoint(path)
        except InputError as error:
            refusals.append(str(error))
        shutil.copy(sidecar(good), sidecar(path))
        if path.read_bytes() != content:
            assert "altered" in refused(path)
        sidecar(path).unlink()
    assert len(refusals) > count // 4
    assert min(map(len, refusals)) > 20


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One of: bytes changed, a stretch removed, doubled, zeroed, shuffled in, or cut off."""
    data = bytearray(content)
    kind = draw.randrange(6)
    begin = draw.randrange(len(data))
    end = min(len(data), begin + draw.randrange(1, 400))
    if kind == 0:
        for _ in range(draw.randrange(1, 30)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 1:
        del data[begin:end]
    elif kind == 2:
        data[begin:begin] = data[begin:end]
    elif kind == 3:
        data[begin:end] = bytes(end - begin)
    elif kind == 4:
        data[begin:end] = draw.randbytes(end - begin)
    else:
        del data[begin:]
    return bytes(data)


def test_power_cut_at_every_moment(tmp_path: Path) -> None:
    """Whatever of a write has reached the disk, the file is the old or the new one, whole."""
    path = tmp_path / "state.ckpt"
    io = VerifiedCheckpointIO()
    io.save_checkpoint({"state_dict": {"w": torch.zeros(3)}}, path)
    states = []

    def snapshot() -> None:
        copy = tmp_path / f"moment{len(states)}"
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("moment*"))
        states.append(copy)

    original = os.fsync

    def fsync(handle: int) -> None:
        snapshot()
        original(handle)
        snapshot()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        io.save_checkpoint({"state_dict": {"w": torch.ones(3)}}, path)
    snapshot()
    assert len(states) > 6
    values = [float(read_checkpoint(each / path.name)["state_dict"]["w"][0]) for each in states]
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] == 1


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.ckpt"
    write_whole(path, lambda temporary: temporary.write_bytes(b"old"))

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, half)
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.ckpt", "state.ckpt.sha256"]


def test_full_disk(tmp_path: Path) -> None:
    """A real file system with room for one checkpoint and not for two."""
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(mount)], capture_output=True
    )
    if made.returncode:
        pytest.skip("mounting a small tmpfs needs more rights than this process has")
    try:
        path = mount / "state.ckpt"
        io = VerifiedCheckpointIO()
        io.save_checkpoint({"state_dict": {"w": torch.zeros(60_000)}}, path)
        before = path.read_bytes()
        with pytest.raises(CheckpointError, match=r"untouched.*make room"):
            io.save_checkpoint({"state_dict": {"w": torch.ones(60_000)}}, path)
        assert path.read_bytes() == before
        assert float(read_checkpoint(path)["state_dict"]["w"].sum()) == 0
        assert not list(mount.glob(".*incomplete"))
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
