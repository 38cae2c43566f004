"""Dynamical systems: exact generators of the published sets, and readers."""

from mixtura.datasets.dynamics.chaotic import chaotic, chaotic_series
from mixtura.datasets.dynamics.environments import DynamicsData, DynamicsDataError, Environments
from mixtura.datasets.dynamics.glycolytic import glycolytic
from mixtura.datasets.dynamics.integration import Precision
from mixtura.datasets.dynamics.lotka_volterra import lotka_volterra
from mixtura.datasets.dynamics.names import environment_names, load_environments
from mixtura.datasets.dynamics.noisy_lorenz import noisy_lorenz
from mixtura.datasets.dynamics.odebench import odebench, odebench4, odebench10
from mixtura.datasets.dynamics.own_data import from_arrays, read_arrays, read_folder
from mixtura.datasets.dynamics.selkov import selkov
from mixtura.datasets.dynamics.series import read_ts, synthetic_control

__all__ = [
    "DynamicsData",
    "DynamicsDataError",
    "Environments",
    "Precision",
    "chaotic",
    "chaotic_series",
    "environment_names",
    "from_arrays",
    "glycolytic",
    "load_environments",
    "lotka_volterra",
    "noisy_lorenz",
    "odebench",
    "odebench4",
    "odebench10",
    "read_arrays",
    "read_folder",
    "read_ts",
    "selkov",
    "synthetic_control",
]
