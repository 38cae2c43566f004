"""Score functions: what a router thinks of each expert for each unit."""

from mixtura.core.scores.base import Score, Scored
from mixtura.core.scores.linear import LinearScore

__all__ = ["LinearScore", "Score", "Scored"]
