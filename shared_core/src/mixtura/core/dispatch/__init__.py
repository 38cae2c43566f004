"""Dispatch: how the rows get to their experts and back. It knows devices, nothing else."""

from mixtura.core.dispatch.auto import Auto
from mixtura.core.dispatch.base import Dispatch, dispatch_by_name, dispatches
from mixtura.core.dispatch.dense_all import DenseAll
from mixtura.core.dispatch.grouped_mm import GroupedMM
from mixtura.core.dispatch.naive import Naive
from mixtura.core.dispatch.padded_bmm import PaddedBMM
from mixtura.core.dispatch.sorted_loop import SortedLoop
from mixtura.core.dispatch.stacked_loop import StackedLoop

__all__ = [
    "Auto",
    "DenseAll",
    "Dispatch",
    "GroupedMM",
    "Naive",
    "PaddedBMM",
    "SortedLoop",
    "StackedLoop",
    "dispatch_by_name",
    "dispatches",
]
