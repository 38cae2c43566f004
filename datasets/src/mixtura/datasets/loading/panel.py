"""Series that are cut and scaled alike, each by its own rows."""

from functools import cached_property

import numpy as np

from mixtura.core.errors import InputError
from mixtura.datasets.ltsf.scaler import StandardScaler
from mixtura.datasets.ltsf.series import SeriesTable
from mixtura.datasets.ltsf.splits import Borders, Split
from mixtura.datasets.own_items import about_item

__all__ = ["Panel"]


class Panel:
    """One series, or several of the same variates and covariates.

    Args:
        tables: the series by item; at least one.
        split: how the rows of each are cut.
        look_back: rows of the past that the later parts reach back.
        item_column: what errors call an item; None for one series.
        scale: whether anything is scaled.
        refuse_constant: whether a variate that never changes in the training rows is an error.
    """

    def __init__(
        self,
        tables: dict[str, SeriesTable],
        split: Split,
        look_back: int,
        item_column: str | None = None,
        scale: bool = True,
        refuse_constant: bool = False,
    ) -> None:
        self.tables, self.split, self.look_back = tables, split, look_back
        self.item_column, self.scale, self.refuse_constant = item_column, scale, refuse_constant

    def borders(self, item: str) -> Borders:
        """The rows of each part of one series."""
        return self.split.borders(self.tables[item].rows, self.look_back)

    @cached_property
    def scalers(self) -> dict[str, StandardScaler]:
        """Of the variates of every series, from its training rows.

        Raises:
            InputError: for a variate that never changes, where that is refused.
        """
        found = {}
        for item, table in self.tables.items():
            with about_item(self.item_column, item):
                # a series of one or two rows has none to train on
                rows = table.values[: max(1, self.borders(item).train.stop)]
                self._check_changes(table, rows)
                found[item] = self._fitted(rows)
        return found

    @cached_property
    def covariate_scaler(self) -> StandardScaler:
        """Of past, known and static covariates, from the training rows of all series together."""
        rows, static = [], []
        for item, table in self.tables.items():
            train = slice(*self.borders(item).train)
            both = (table.past_covariates[train], table.known_covariates[train])
            rows.append(np.concatenate(both, axis=1))
            static.append(table.static_covariates)
        fitted = [self._fitted(np.concatenate(rows)), self._fitted(np.stack(static))]
        return StandardScaler(
            np.concatenate([each.mean for each in fitted]),
            np.concatenate([each.scale for each in fitted]),
        )

    def _fitted(self, rows: np.ndarray) -> StandardScaler:
        fitted = self.scale and rows.size > 0
        return StandardScaler.fit(rows) if fitted else StandardScaler.identity(rows.shape[1])

    def _check_changes(self, table: SeriesTable, rows: np.ndarray) -> None:
        same = (rows == rows[:1]).all(axis=0)
        if self.refuse_constant and len(rows) and same.any():
            column = int(same.argmax())
            raise InputError(
                f"column {table.channels[column]!r} of {table.name} is {rows[0, column]:g} in "
                "every training row, so there is nothing to learn; leave it out, or set constant "
                "to 'keep'"
            )
