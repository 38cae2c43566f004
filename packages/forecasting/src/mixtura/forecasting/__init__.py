"""Mixture-of-Experts forecasting: networks, training, predictors, reference checkpoints.

Public names are loaded when they are first used; networks need neither Lightning nor pandas.
"""

# ruff: noqa: F401 (the imports below are for type checkers)

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mixtura.core.extras import brought_by

if TYPE_CHECKING:
    from mixtura.forecasting.conformal import ConformalResiduals
    from mixtura.forecasting.forecaster import (
        DLinearForecaster,
        Forecaster,
        ITransformerForecaster,
        MoHETSForecaster,
        MoiraiMoEForecaster,
        NLinearForecaster,
        PatchTSTForecaster,
        SegMoEForecaster,
        TimeMoEForecaster,
    )
    from mixtura.forecasting.losses import AbsoluteError, ForecastLoss, Huber, SquaredError
    from mixtura.forecasting.module import ForecastModule
    from mixtura.forecasting.networks import (
        CovariateNetwork,
        DistributionNetwork,
        DLinear,
        ForecastNetwork,
        ITransformer,
        LastValue,
        MoHETS,
        MoiraiMoE,
        NLinear,
        PatchTST,
        QuantileNetwork,
        SeasonalNaive,
        SegMoE,
        TimeMoE,
    )
    from mixtura.forecasting.next_point import TimeMoEModule

HOMES = {
    "conformal": ("ConformalResiduals",),
    "forecaster": (
        "DLinearForecaster",
        "Forecaster",
        "ITransformerForecaster",
        "MoHETSForecaster",
        "MoiraiMoEForecaster",
        "NLinearForecaster",
        "PatchTSTForecaster",
        "SegMoEForecaster",
        "TimeMoEForecaster",
    ),
    "losses": ("AbsoluteError", "ForecastLoss", "Huber", "SquaredError"),
    "module": ("ForecastModule",),
    "networks": (
        "CovariateNetwork",
        "DLinear",
        "DistributionNetwork",
        "ForecastNetwork",
        "ITransformer",
        "LastValue",
        "MoHETS",
        "MoiraiMoE",
        "NLinear",
        "PatchTST",
        "QuantileNetwork",
        "SeasonalNaive",
        "SegMoE",
        "TimeMoE",
    ),
    "next_point": ("TimeMoEModule",),
}
HOME_OF = {name: home for home, names in HOMES.items() for name in names}

__all__ = [name for names in HOMES.values() for name in names]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with brought_by("mixtura-forecasting[train]", name):
        value = getattr(import_module(f"{__name__}.{HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(HOME_OF)
