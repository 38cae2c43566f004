import gzip
from pathlib import Path

import numpy as np
import pytest

from mixtura.datasets import InputError, read_own_table, with_future

HEADER = "date,load,temp,holiday\n"


def write(folder: Path, *rows: str, header: str = HEADER, name: str = "my.csv") -> Path:
    path = folder / name
    path.write_text(header + "".join(f"{row}\n" for row in rows))
    return path


def hours(*cells: str) -> list[str]:
    return [f"2020-01-01 {hour:02d}:00,{cell}" for hour, cell in enumerate(cells)]


GOOD = hours("1,10,0", "2,11,0", "3,12,1", "4,13,1")


def test_all_numeric_columns_are_forecast_by_default(tmp_path: Path) -> None:
    table = read_own_table(write(tmp_path, *GOOD))
    assert table.channels == ("load", "temp", "holiday")
    assert table.frequency == "h"
    assert table.name == "my"
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, 4])
    assert table.past_covariates.shape == table.known_covariates.shape == (4, 0)


def test_compressed_and_without_dates(tmp_path: Path) -> None:
    path = tmp_path / "my.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,x\n2,y\n"))
    table = read_own_table(path, date_column=None)
    assert table.channels == ("a",)
    assert table.stamps is None
    assert table.frequency is None


def test_rows_with_empty_targets_at_the_end_are_the_future(tmp_path: Path) -> None:
    path = write(tmp_path, *GOOD, "2020-01-01 04:00,,,5", "2020-01-01 05:00,,,6")
    table = read_own_table(path, target="load", covariates=["temp"], known_covariates=["holiday"])
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(table.past_covariates[:, 0], [10, 11, 12, 13])
    np.testing.assert_array_equal(table.known_covariates[:, 0], [0, 0, 1, 1, 5, 6])
    ahead = with_future(table, 2)
    assert ahead.rows == 6
    assert np.isnan(ahead.values[4:]).all()
    assert str(ahead.stamps[-1]).startswith("2020-01-01T05:00")
    with pytest.raises(InputError, match="needs holiday for the 3 rows after the last observation"):
        with_future(table, 3)


def test_filling_takes_the_reading_before(tmp_path: Path) -> None:
    path = write(tmp_path, *hours(",10,0", "2,,0", ",12,1", "4,13,1"))
    table = read_own_table(path, missing="fill")
    np.testing.assert_array_equal(table.values[:, 0], [2, 2, 2, 4])
    np.testing.assert_array_equal(table.values[:, 1], [10, 10, 12, 13])


def test_dates_as_numbers_and_with_time_zones(tmp_path: Path) -> None:
    days = write(tmp_path, *(f"2020022{day},1,2,{day}" for day in range(7, 10)))
    assert read_own_table(days).frequency == "D"
    years = write(tmp_path, *(f"{year},1,2,{year}" for year in range(1990, 1995)))
    assert read_own_table(years).frequency == "YS-JAN"
    zones = ("2020-03-29T01:00+01:00", "2020-03-29T03:00+02:00", "2020-03-29T04:00+02:00")
    table = read_own_table(write(tmp_path, *(f"{stamp},1,2,{i}" for i, stamp in enumerate(zones))))
    assert table.frequency == "h"
    assert str(table.stamps[0]).startswith("2020-03-29T00:00")


def test_a_named_frequency_takes_rows_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD[0], GOOD[1], GOOD[3])
    assert read_own_table(path, frequency="H").frequency == "h"
    with pytest.raises(InputError, match="the timestamps are not regular"):
        read_own_table(write(tmp_path, GOOD[0], GOOD[1], GOOD[3], "2020-01-01 04:00,1,1,1"))


@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        (GOOD, {"target": "laod"}, r"no column 'laod'; did you mean load\? Its columns are date"),
        (GOOD, {"date_column": "time"}, "no date column 'time'"),
        (GOOD, {"covariates": ["wind"]}, "no column 'wind'"),
        (GOOD, {"target": "load", "covariates": ["load"]}, "'load' of my.csv is asked for twice"),
        (GOOD, {"target": []}, "no numeric column to forecast"),
        (GOOD, {"frequency": "fortnightly"}, "'fortnightly' is no known frequency"),
        (GOOD, {"date_column": None, "frequency": "h", "target": "load"}, "but no date column"),
        (hours("1,10,0", "x,11,0", "3,12,0"), {"target": "load"}, "row 1 holds 'x'"),
        (hours("1,10,0", "inf,11,0", "3,12,0"), {}, "infinite number in row 1"),
        (hours("1,10,0", "2,,0", "3,12,0"), {}, "1 empty cells, the first in row 1, column 'temp'"),
        (hours("1,,0", "2,,0", "3,,0"), {}, "'temp' of my.csv has no value at all"),
        (hours("1,,0", "2,,0", "3,,0"), {"missing": "fill"}, "has no value at all"),
        ([GOOD[0], GOOD[1], GOOD[1], GOOD[2]], {}, "row 2 repeats the timestamp"),
        ([GOOD[0], GOOD[2], GOOD[1], GOOD[3]], {}, "row 2 goes back in time"),
        (GOOD[:2], {}, "at least 3 rows are needed"),
        (["soon,1,2,3", *GOOD], {}, "row 0 holds 'soon'"),
        (["2020-01-01,1,2,3,4,5", *GOOD], {}, "its rows have more cells than its header"),
        (["5,1,2,3", "6,1,2,3"], {}, "row 0 holds"),
    ],
)
def test_what_is_wrong_with_a_table(
    tmp_path: Path, rows: list[str], options: dict, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read_own_table(write(tmp_path, *rows), **options)
    assert str(caught.value).count("\n") < 5


def test_no_file_and_no_table(tmp_path: Path) -> None:
    write(tmp_path, *GOOD)
    with pytest.raises(InputError, match=r"no file .*other.csv; .* has my.csv; correct the path"):
        read_own_table(tmp_path / "other.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty.csv is no CSV table"):
        read_own_table(tmp_path / "empty.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_own_table(tmp_path)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 100)[:30])
    with pytest.raises(InputError, match="cannot be read"):
        read_own_table(tmp_path / "cut.csv.gz", date_column=None)


def test_filling_closes_gaps(tmp_path: Path) -> None:
    rows = hours("1,10,0", "2,11,0", "3,12,1", "4,13,1", "5,14,0", "6,15,0")
    path = write(tmp_path, *rows[:2], *rows[4:], "2020-01-01 06:00,7,16,1")
    with pytest.raises(InputError, match=r"not regular.* set missing to 'fill'"):
        read_own_table(path)
    table = read_own_table(path, missing="fill")
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 2, 2, 5, 6, 7])
    assert (table.frequency, len(table.stamps)) == ("h", 7)
    named = read_own_table(path, missing="fill", frequency="h")
    np.testing.assert_array_equal(named.values, table.values)
    taken = read_own_table(path, frequency="h")
    np.testing.assert_array_equal(taken.values[:, 0], [1, 2, 5, 6, 7])


def test_stamps_on_no_grid_are_refused_in_any_case(tmp_path: Path) -> None:
    rows = [*GOOD, "2020-01-01 03:20,5,14,0"]
    with pytest.raises(InputError, match="not regular"):
        read_own_table(write(tmp_path, *rows), missing="fill")
    rows = [*GOOD, "2031-01-01 03:00,5,14,0"]
    with pytest.raises(InputError, match="not regular"):
        read_own_table(write(tmp_path, *rows), missing="fill")


def test_months_are_filled_where_they_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, *(f"2020-{m:02d}-01,{m},0,0" for m in (1, 2, 3, 5, 6)))
    table = read_own_table(path, missing="fill", frequency="MS")
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, 3, 5, 6])
