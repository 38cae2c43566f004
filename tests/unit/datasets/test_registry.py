import gzip
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixtura.datasets import (
    AlteredFile,
    InputError,
    MissingFile,
    UnknownDataset,
    data_path,
    dataset,
    dataset_names,
    read_data,
)
from mixtura.datasets.catalogue import CATALOGUE
from mixtura.datasets.places import search_places

ETTH1 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty user folder and an empty cache; only the embedded samples are left."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MIXTURA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MIXTURA_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_record_is_complete(name: str) -> None:
    record = CATALOGUE[name]
    for text in (record.licence, record.citation, record.origin, record.description):
        assert text
    assert record.preparation
    assert bool(record.files) != bool(record.generator)
    assert record.downloadable or record.obtain or record.generator
    for file in record.files:
        for form in file.forms:
            assert re.fullmatch("[0-9a-f]{64}", form.sha256)
            assert form.size > 0
            assert not form.name.startswith("/")


def test_names_and_aliases_are_unique() -> None:
    spelled = [n for record in CATALOGUE.values() for n in (record.name, *record.aliases)]
    plain = [name.lower().replace("_", "-") for name in spelled]
    assert len(set(plain)) == len(plain)


def test_a_name_is_found_in_any_spelling() -> None:
    assert dataset("etth1").name == "ETTh1"
    assert dataset("exchange-rate") is dataset("Exchange") is dataset("exchange_rate")
    assert dataset("ILI").name == "national_illness"
    assert "ETTm2" in dataset_names("forecasting")
    assert "ETTm2" not in dataset_names("planning")


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(UnknownDataset, match=r"'wether'; did you mean weather"):
        dataset("wether")
    with pytest.raises(InputError, match="mixtura-data list"):
        dataset("qqqqqq")


def test_the_embedded_sample_is_the_published_file(alone: Path) -> None:
    content = read_data("ETTh1")
    assert hashlib.sha256(content).hexdigest() == ETTH1
    assert content.startswith(b"date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n2016-07-01 00:00:00,5.827")
    assert "embedded" in data_path("ETTh1").parts
    assert (data_path("ETTh1").parent / "ETTh1.LICENSE.md").is_file()


@pytest.mark.parametrize("place", ["data", "data/forecasting", "cache", "cache/forecasting"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_places_flat_and_by_domain_and_both_forms(alone: Path, place: str, ending: str) -> None:
    packed = data_path("ETTh1").read_bytes()
    folder = alone / place
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"ETTh1.{ending}"
    target.write_bytes(packed if ending == "csv.gz" else gzip.decompress(packed))
    assert data_path("ETTh1") == target
    assert hashlib.sha256(read_data("ETTh1")).hexdigest() == ETTH1


def test_the_users_folder_comes_before_the_cache(alone: Path) -> None:
    packed = data_path("ETTh1").read_bytes()
    for place in ("cache", "data"):
        (alone / place).mkdir(exist_ok=True)
        (alone / place / "ETTh1.csv.gz").write_bytes(packed)
    assert data_path("ETTh1") == alone / "data" / "ETTh1.csv.gz"


def test_a_cut_file_is_refused(alone: Path) -> None:
    packed = data_path("ETTh1").read_bytes()
    (alone / "data" / "ETTh1.csv.gz").write_bytes(packed[:1000])
    with pytest.raises(
        AlteredFile, match=r"ETTh1.csv.gz is cut short: expected 405601 bytes, found 1000;"
    ):
        read_data("ETTh1")
    with pytest.raises(AlteredFile, match="run `mixtura-data get ETTh1`"):
        data_path("ETTh1")


def test_one_flipped_bit_is_refused_even_with_the_old_time_stamp(alone: Path) -> None:
    import os

    packed = bytearray(data_path("ETTh1").read_bytes())
    target = alone / "data" / "ETTh1.csv.gz"
    target.write_bytes(packed)
    before = target.stat()
    assert read_data("ETTh1")
    packed[200_000] ^= 1
    target.write_bytes(packed)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(AlteredFile, match="was altered: expected sha256 f1141f82"):
        read_data("ETTh1")


def test_too_long_a_file_is_refused(alone: Path) -> None:
    (alone / "data" / "ETTh1.csv.gz").write_bytes(data_path("ETTh1").read_bytes() + b"\0")
    with pytest.raises(AlteredFile, match="is too long: expected 405601 bytes, found 405602"):
        read_data("ETTh1")


def test_a_missing_file_is_told_with_places_and_remedy(alone: Path) -> None:
    with pytest.raises(MissingFile) as caught:
        read_data("weather")
    message = str(caught.value)
    assert str(alone / "cache") in message
    assert message.endswith(
        "run `mixtura-data get weather` or set $MIXTURA_DATA to a folder that has it"
    )
    with pytest.raises(MissingFile, match="take the originals from repository Shenggan"):
        data_path("bccd", "bccd/test.json")


def test_a_data_folder_that_is_none_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIXTURA_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingFile, match=r"\$MIXTURA_DATA should name a folder"):
        search_places()


def test_a_generated_set_has_no_file() -> None:
    with pytest.raises(MissingFile, match="is generated and has no files"):
        read_data("synthetic-seasonal")


def test_every_shared_file_is_the_registered_one() -> None:
    checked = 0
    for record in CATALOGUE.values():
        for file in record.files:
            try:
                assert data_path(record.name, file.name).is_file()
                checked += 1
            except MissingFile:
                continue
    assert checked >= 1


def test_the_registry_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, mixtura.datasets as d; d.read_data('ETTh1'); d.dataset('ili');"
        "print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
