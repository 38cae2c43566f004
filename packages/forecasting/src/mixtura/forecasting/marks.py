"""What is known beside the series: the calendar, and covariates, of a window and its horizon."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork

__all__ = ["Marks", "check_marks"]


@dataclass(frozen=True, eq=False)
class Marks:
    """Features of each row of one series, cut into windows as networks take them.

    A window's features are the calendar, covariates known up to the present, covariates known in
    the future, static covariates, in this order. What is known up to the present only keeps its
    last reading over the horizon.

    Attributes:
        calendar: features of rows `first`, `first + 1`, ..., beyond the last observation.
        first: row of the first calendar features, at most 0.
        past: covariates known up to the present, of the observed rows.
        known: covariates known in the future, of the observed rows and of those after them.
        static: covariates that never change.
        known_names: what errors call the known ones.
    """

    calendar: Float[np.ndarray, "all marks"]
    first: int
    past: Float[np.ndarray, "rows past"]
    known: Float[np.ndarray, "known_rows known"]
    static: Float[np.ndarray, " static"]
    known_names: tuple[str, ...] = ()

    def window(
        self, end: int, length: int, horizon: int
    ) -> Float[np.ndarray, "features {length}+{horizon}"]:
        """The features of the `length` rows before row `end` and of the `horizon` rows from it on.

        Rows before the first one repeat its covariates.

        Raises:
            InputError: when a known covariate ends before the horizon does.
        """
        if self.known.shape[1] and len(self.known) < end + horizon:
            names = ", ".join(self.known_names) or "the known covariates"
            raise InputError(
                f"a forecast of {horizon} steps needs {names} for the {horizon} rows after the "
                f"last observation, found {max(0, len(self.known) - end)}; add their future"
            )
        rows = np.arange(end - length, end + horizon)
        parts = [
            self.calendar[rows - self.first] if self.calendar.shape[1] else self.calendar[:0],
            self.past[rows.clip(0, end - 1)] if self.past.shape[1] else self.past[:0],
            self.known[rows.clip(0)] if self.known.shape[1] else self.known[:0],
            np.broadcast_to(self.static, (len(rows), len(self.static))),
        ]
        return np.concatenate([part for part in parts if part.shape[1]] or [parts[-1]], 1).T


def check_marks(network: ForecastNetwork, given: Sequence[str]) -> None:
    """Refuse what a network does not look at: the calendar, or covariates.

    Raises:
        InputError: naming what was given.
    """
    if given and not network.looks_at_marks:
        raise InputError(
            f"{type(network).__name__} does not look at {', '.join(given)}; leave that out, use "
            "MoHETS or ITransformer, or put the network into a CovariateNetwork"
        )
