import hashlib
import io
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mixtura.datasets import (
    AlteredFile,
    Archive,
    DataFile,
    Dataset,
    DownloadFailed,
    Form,
    data_path,
    download,
    registry,
)
from mixtura.datasets.command import main

from .server import Behaviour, serving

CONTENT = bytes(range(256)) * 1200  # 307200 bytes, several blocks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("MIXTURA_DATA", raising=False)
    monkeypatch.setenv("MIXTURA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def record(url: str, archive: Archive | None = None, sha256: str = DIGEST) -> Dataset:
    form = Form(
        name="file.bin",
        size=len(CONTENT),
        sha256=sha256,
        url="" if archive else url,
        archive=archive,
    )
    return Dataset(
        name="served",
        domain="planning",
        description="for this test",
        licence="none",
        citation="none",
        origin="here",
        preparation="none",
        files=(DataFile(name="file.bin", forms=(form,)),),
    )


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_whole_file_arrives_and_stays(cache: Path) -> None:
    behaviour = Behaviour(CONTENT)
    told: list[tuple[str, int, int]] = []
    with serving(behaviour) as url:
        (path,) = download(record(url), lambda *event: told.append(event))
        assert path == cache / "planning" / "file.bin"
        assert path.read_bytes() == CONTENT
        assert told[-1] == ("file.bin", len(CONTENT), len(CONTENT))
        assert download(record(url)) == [path]
    assert behaviour.asked == [""]
    assert left(cache) == ["file.bin"]


def test_cut_connections_are_continued(cache: Path) -> None:
    behaviour = Behaviour(CONTENT, cut_after=[100_000, 0, 70_000])
    with serving(behaviour) as url:
        (path,) = download(record(url), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert behaviour.asked[0] == ""
    assert "bytes=100000-" in behaviour.asked
    assert "bytes=170000-" in behaviour.asked
    assert left(cache) == ["file.bin"]


def test_a_server_without_ranges_starts_again(cache: Path) -> None:
    behaviour = Behaviour(CONTENT, ranges=False, cut_after=[100_000, 200_000])
    with serving(behaviour) as url:
        (path,) = download(record(url), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert behaviour.asked == ["", "bytes=100000-", "bytes=200000-"]


def test_a_later_run_continues_what_an_earlier_one_left(cache: Path) -> None:
    behaviour = Behaviour(CONTENT, cut_after=[50_000, 0, 0, 0, 0, 0])
    with serving(behaviour) as url:
        with pytest.raises(DownloadFailed, match="50000 of 307200 bytes are kept, run the command"):
            download(record(url), pause=0.001)
        assert left(cache) == [".file.bin.part"]
        behaviour.cut_after.clear()
        (path,) = download(record(url), pause=0.001)
    assert behaviour.asked[-1] == "bytes=50000-"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("remains", [b"x" * 1000, CONTENT[:-1] + b"x", CONTENT + b"x"])
def test_what_an_earlier_run_left_may_be_spoilt(cache: Path, remains: bytes) -> None:
    (cache / "planning").mkdir(parents=True)
    (cache / "planning" / ".file.bin.part").write_bytes(remains)
    with serving(Behaviour(CONTENT)) as url:
        (path,) = download(record(url), pause=0.001)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"x", CONTENT + b"too long", CONTENT[:-5]])
def test_another_file_than_the_registered_one(cache: Path, content: bytes) -> None:
    with serving(Behaviour(content)) as url, pytest.raises(DownloadFailed) as caught:
        download(record(url), pause=0.001)
    assert url in str(caught.value)
    assert "file.bin" not in left(cache)
    assert len(str(caught.value).splitlines()) == 1


def test_answers_that_are_errors(cache: Path) -> None:
    missing = Behaviour(CONTENT, status=[404])
    with serving(missing) as url, pytest.raises(DownloadFailed, match="answers 404 Not Found"):
        download(record(url), pause=0.001)
    with serving(Behaviour(CONTENT, status=[503, 429])) as url:
        (path,) = download(record(url), pause=0.001)
    assert path.read_bytes() == CONTENT


def test_nobody_answers(cache: Path) -> None:
    with serving(Behaviour(CONTENT)) as url:
        pass
    with pytest.raises(DownloadFailed, match=r"could not be fetched: .*refused"):
        download(record(url), pause=0.001)
    assert left(cache) == []


def test_a_member_of_an_archive(cache: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/file.bin", CONTENT)
    behaviour = Behaviour(packed.getvalue(), cut_after=[300])
    with serving(behaviour) as url:
        archive = Archive(
            url=url,
            size=len(packed.getvalue()),
            sha256=hashlib.sha256(packed.getvalue()).hexdigest(),
            member="folder/file.bin",
        )
        (path,) = download(record(url, archive), pause=0.001)
        assert path.read_bytes() == CONTENT
        assert left(cache) == ["file.bin"]
        path.unlink()
        with pytest.raises(AlteredFile, match=r"is not the registered file\.bin"):
            download(record(url, archive, sha256="0" * 64), pause=0.001)
        assert "file.bin" not in left(cache)


def test_a_file_that_is_here_but_altered_is_not_replaced(cache: Path) -> None:
    (cache / "planning").mkdir(parents=True)
    target = cache / "planning" / "file.bin"
    target.write_bytes(b"mine")
    with serving(Behaviour(CONTENT)) as url, pytest.raises(AlteredFile, match="cut short"):
        download(record(url))
    assert target.read_bytes() == b"mine"


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXTURA_DATA", raising=False)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MIXTURA_CACHE", str(tmp_path / "file"))
    sentence = r"cannot be written .*; set \$MIXTURA_CACHE"
    with serving(Behaviour(CONTENT)) as url, pytest.raises(DownloadFailed, match=sentence):
        download(record(url))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    with (
        serving(Behaviour(CONTENT)) as url,
        pytest.raises(DownloadFailed, match="cannot be written"),
    ):
        download(record(url))


def test_a_file_system_that_is_full(cache: Path) -> None:
    # A limit on the size of files fails a write midway, as a full disk does.
    cache.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(Behaviour(CONTENT)) as url:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        try:
            with pytest.raises(DownloadFailed, match="there is no room for 307200 bytes"):
                download(record(url))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(cache) == []


FULL_DISK = """
mount -t tmpfs -o size=64k none {folder} || exit 77
{python} -c '
import sys
from tests.faults.datasets.test_download import record
from mixtura.datasets import DownloadFailed, download
try:
    download(record(sys.argv[1]))
except DownloadFailed as error:
    print(error)
' {url}
ls -A {folder}/planning
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
def test_a_disk_that_is_full(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with serving(Behaviour(CONTENT)) as url:
        script = FULL_DISK.format(folder=folder, python=sys.executable, url=url)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            env={**os.environ, "MIXTURA_CACHE": str(folder), "MIXTURA_DATA": ""},
            cwd=repository,
            capture_output=True,
            text=True,
        )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    assert "there is no room for 307200 bytes" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1  # the listing of the folder is empty


def test_the_command_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    behaviour = Behaviour(CONTENT, cut_after=[100_000])
    with serving(behaviour) as url:
        monkeypatch.setitem(registry.KNOWN, "served", record(url))
        assert main(["get", "served"]) == 0
        assert capsys.readouterr().out.strip() == str(cache / "planning" / "file.bin")
        assert main(["check", "served"]) == 0
        assert "1 files are whole, 0 are not" in capsys.readouterr().out
        assert main(["where", "served"]) == 0
        assert data_path("served").read_bytes() == CONTENT
        data_path("served").write_bytes(CONTENT[:-1] + b"x")
        capsys.readouterr()
        assert main(["check", "served"]) == 2
        assert "was altered: expected sha256" in capsys.readouterr().err
        (cache / "planning" / "file.bin").unlink()
        behaviour.status.append(403)
        assert main(["get", "served"]) == 2
        captured = capsys.readouterr()
        assert "the server answers 403" in captured.err
        assert len(captured.err.strip().splitlines()) <= 5
