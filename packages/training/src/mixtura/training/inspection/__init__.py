"""Inspection: one page that shows what the experts of a trained model do."""

from mixtura.training.inspection.observation import Layer, Observation, observe, positions
from mixtura.training.inspection.page import agreement, write_page
from mixtura.training.inspection.pictures import draw
from mixtura.training.inspection.verb import inspect

__all__ = [
    "Layer",
    "Observation",
    "agreement",
    "draw",
    "inspect",
    "observe",
    "positions",
    "write_page",
]
