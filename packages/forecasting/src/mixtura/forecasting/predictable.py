"""What networks and forecasters have in common: gluonts predictors are made of both."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixtura.forecasting.predictors import NetworkPredictor

__all__ = ["Predictable"]


class Predictable:
    """A network or a forecaster: gluonts predictors are made of it."""

    def create_predictor(
        self,
        prediction_length: int,
        context_length: int | None = None,
        batch_size: int = 32,
        device: str = "cpu",
        quantile_levels: list[float] | None = None,
        num_samples: int | None = None,
    ) -> "NetworkPredictor":
        """A gluonts predictor.

        Of a network: every series is scaled by its own look-back. Of a forecaster: entries need the
        columns of training as their dimensions.

        Args:
            prediction_length: points to forecast.
            context_length: longest look-back, the network's own if not given.
            batch_size: series per pass.
            device: where the network works.
            quantile_levels: quantiles to give beside the point forecast.
            num_samples: give so many draws of the network's distribution instead.

        Raises:
            InputError: when gluonts is not installed, or for a length, level or device that
                cannot be.
        """
        from mixtura.forecasting.predictors import create_predictor

        return create_predictor(
            self,  # pyright: ignore[reportArgumentType]
            prediction_length,
            context_length,
            batch_size,
            device,
            quantile_levels,
            num_samples,
        )
