"""Several series below each other in a file: reading, cutting, scaling, batches."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mixtura.core import from_config, to_config
from mixtura.datasets import InputError, LTSFDataModule, read_own_items
from mixtura.datasets.loading.joined import JoinedWindows


def shop(name: str, rows: int, size: float, begin: str = "2021-01-01") -> pd.DataFrame:
    """Sales that count up, of a shop of some size."""
    return pd.DataFrame(
        {
            "date": pd.date_range(begin, periods=rows, freq="D"),
            "shop": name,
            "sales": size * np.arange(1.0, rows + 1),
            "price": np.arange(rows) % 5 + 1.0,
            "area": size,
        }
    )


def written(folder: Path, *shops: pd.DataFrame) -> str:
    path = folder / "shops.csv"
    pd.concat(shops).to_csv(path, index=False)
    return str(path)


SETTINGS = {
    "item_column": "shop",
    "target": "sales",
    "known_covariates": ["price"],
    "static_covariates": ["area"],
    "look_back": 8,
    "horizon": 2,
}


def test_items_are_read_in_the_order_of_their_first_rows(tmp_path: Path) -> None:
    later = shop("a", 30, 7.0, begin="2022-03-01")
    path = written(tmp_path, shop("b", 20, 2.0), later)
    tables = read_own_items(
        path, "shop", target="sales", known_covariates=["price"], static_covariates=["area"]
    )
    assert list(tables) == ["b", "a"]
    assert [table.rows for table in tables.values()] == [20, 30]
    assert tables["a"].static_covariates.tolist() == [7.0]
    stamps = tables["a"].stamps
    assert stamps is not None
    assert str(stamps[0]).startswith("2022-03-01")
    assert read_own_items(path, "shop")["a"].channels == ("sales", "price", "area")


def test_rows_of_items_may_be_mixed(tmp_path: Path) -> None:
    both = pd.concat([shop("a", 12, 1.0), shop("b", 12, 2.0)]).sort_values("date")
    tables = read_own_items(written(tmp_path, both), "shop", target="sales")
    assert tables["b"].values[:, 0].tolist() == [2.0 * n for n in range(1, 13)]


def test_each_series_is_cut_and_scaled_by_itself(tmp_path: Path) -> None:
    path = written(tmp_path, shop("a", 60, 1.0), shop("b", 40, 500.0), shop("c", 9, 3.0))
    data = LTSFDataModule(path=path, **SETTINGS, batch_size=16)
    with pytest.warns(
        UserWarning, match=r"1 of 3 series are too short .* (train|val) and have none: c"
    ):
        data.setup("fit")
    source = data.source("train")
    assert isinstance(source, JoinedWindows)
    assert len(source) == (42 - 9) + (28 - 9)
    batch = source[torch.tensor([33, 0, 51])]
    assert batch.past.shape == (3, 8, 1)
    for place, (item, row) in enumerate((("b", 0), ("a", 0), ("b", 18))):
        values = data.tables[item].values
        train = values[: int(0.7 * len(values))]
        scaled = (values[row : row + 10] - train.mean()) / train.std()
        both = torch.cat((batch.past[place], batch.future[place]))
        np.testing.assert_allclose(both, scaled, rtol=1e-5, atol=1e-6)
    assert batch.index.tolist() == [0, 0, 18]
    assert batch.past_covariates.shape == (3, 8, 2)  # the price, the area
    areas = batch.future_covariates[:, :, 1]
    assert (areas == areas[:, :1]).all()
    assert areas[0, 0] == areas[2, 0] != areas[1, 0]
    assert len(next(iter(data.train_dataloader())).past) == 16
    assert to_config(from_config(to_config(data))) == to_config(data)


def test_the_last_window_of_every_series_is_predicted(tmp_path: Path) -> None:
    ahead = shop("b", 42, 2.0)
    ahead.loc[40:, "sales"] = np.nan
    quiet = shop("a", 32, 1.0)
    quiet.loc[30:, "sales"] = np.nan
    data = LTSFDataModule(path=written(tmp_path, quiet, ahead), **SETTINGS, eval_batch_size=8)
    (batch,) = data.predict_dataloader()
    assert batch.index.tolist() == [22, 32]
    assert batch.future.isnan().all()
    assert batch.future_covariates.isfinite().all()


@pytest.mark.parametrize(
    ("second", "options", "words"),
    [
        (shop("b", 30, 2.0).assign(sales=np.nan), {}, r"shop 'b': .*'sales' .* no value at all"),
        (shop("b", 30, 2.0).assign(sales=4.0), {}, r"shop 'b': .* is 4 in every training row"),
        (shop("b", 30, 2.0).assign(area=range(30)), {}, r"shop 'b': .*'area' changes \(0, 1"),
        (shop("b", 30, 2.0).assign(area=np.nan), {}, r"shop 'b': .*'area' is empty"),
        (shop("b", 30, 2.0).assign(price="cheap"), {}, r"shop 'b': column 'price' .* 'cheap'"),
        (shop("b", 30, 2.0).drop(index=7), {}, "shop 'b': "),
        (
            shop("b", 30, 2.0).assign(date=pd.date_range("2021-01-01", periods=30, freq="h")),
            {},
            "'a' has the step 'D' and 'b' has 'h'",
        ),
        (shop("b", 30, 2.0).assign(shop=None), {}, "'shop' of shops.csv names no item in row 30"),
        (shop("b", 30, 2.0), {"item_column": "shp"}, "no column 'shp'; did you mean shop"),
        (shop("b", 30, 2.0), {"look_back": 50}, "the train parts of the 2 series of shops are too"),
    ],
)
def test_what_is_wrong_with_an_item(
    tmp_path: Path, second: pd.DataFrame, options: dict, words: str
) -> None:
    path = written(tmp_path, shop("a", 30, 1.0), second)
    with pytest.raises(InputError, match=words):
        LTSFDataModule(path=path, **{**SETTINGS, **options}).setup("fit")


def test_what_is_missing_at_the_end_of_an_item(tmp_path: Path) -> None:
    path = written(tmp_path, shop("a", 30, 1.0), shop("b", 30, 2.0))
    data = LTSFDataModule(path=path, **SETTINGS)
    with pytest.raises(InputError, match=r"shop 'a': a forecast of 2 steps needs price"):
        data.predict_dataloader()
    with pytest.raises(InputError, match="tell series apart; name the column of the items"):
        LTSFDataModule(path=path, static_covariates=["area"])
    with pytest.raises(InputError, match="'shop' of items is one of a file; give its path"):
        LTSFDataModule(name="ETTh1", item_column="shop")
