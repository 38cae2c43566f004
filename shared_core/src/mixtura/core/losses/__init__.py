"""Losses: what pressure is put on the decision. Pure functions of routings."""

from mixtura.core.losses.base import Loss
from mixtura.core.losses.load_balance import LoadBalance, load_balance

__all__ = ["LoadBalance", "Loss", "load_balance"]
