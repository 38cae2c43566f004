"""Callbacks that every run has or may have."""

from mixtura.training.callbacks.checkpoint import Checkpoint
from mixtura.training.callbacks.first import ValidateFirst
from mixtura.training.callbacks.monitor import RoutingMonitor
from mixtura.training.callbacks.progress import LineProgress, ProgressBar
from mixtura.training.callbacks.stop import GracefulStop, Stopped
from mixtura.training.callbacks.summary import RunSummary

__all__ = [
    "Checkpoint",
    "GracefulStop",
    "LineProgress",
    "ProgressBar",
    "RoutingMonitor",
    "RunSummary",
    "Stopped",
    "ValidateFirst",
]
