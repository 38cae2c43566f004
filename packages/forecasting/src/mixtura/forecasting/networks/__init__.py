"""Networks: pure modules from a look-back window to a forecast."""

from mixtura.forecasting.networks.base import DirectNetwork, ForecastNetwork
from mixtura.forecasting.networks.covariate_adapter import CovariateNetwork
from mixtura.forecasting.networks.density import DistributionNetwork
from mixtura.forecasting.networks.dlinear import DLinear
from mixtura.forecasting.networks.itransformer import ITransformer
from mixtura.forecasting.networks.mohets import MoHETS
from mixtura.forecasting.networks.moirai_moe import MoiraiMoE
from mixtura.forecasting.networks.naive import LastValue, SeasonalNaive
from mixtura.forecasting.networks.nlinear import NLinear
from mixtura.forecasting.networks.patchtst import PatchTST
from mixtura.forecasting.networks.quantile import QuantileNetwork
from mixtura.forecasting.networks.seg_moe import SegMoE
from mixtura.forecasting.networks.segment_mixture import segment_mixture
from mixtura.forecasting.networks.time_moe import TimeMoE

__all__ = [
    "CovariateNetwork",
    "DLinear",
    "DirectNetwork",
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
    "segment_mixture",
]
