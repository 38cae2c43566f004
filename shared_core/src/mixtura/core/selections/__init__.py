"""Selections: from scores to a routing."""

from mixtura.core.selections.base import Selection
from mixtura.core.selections.topk import TopK

__all__ = ["Selection", "TopK"]
