"""Dispatch: how the rows get to their experts and back. It knows devices, nothing else."""

from mixtura.core.dispatch.auto import Auto
from mixtura.core.dispatch.base import Dispatch, dispatch_by_name
from mixtura.core.dispatch.mixed import Mixed
from mixtura.core.dispatch.naive import Naive
from mixtura.core.dispatch.sorted_loop import SortedLoop

__all__ = ["Auto", "Dispatch", "Mixed", "Naive", "SortedLoop", "dispatch_by_name"]
