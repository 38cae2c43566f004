"""Pictures: forecasts beside what came, and what the experts do."""

from mixtura.forecasting.pictures.forecasts import plot_forecasts
from mixtura.forecasting.pictures.future import plot_future
from mixtura.forecasting.pictures.routing import plot_routing

__all__ = ["plot_forecasts", "plot_future", "plot_routing"]
