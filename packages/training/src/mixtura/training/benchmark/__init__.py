"""Benchmarks: a recipe, its jobs, and the table that they make."""

from mixtura.training.benchmark.recipe import Entry, Recipe, Setting, read_recipe
from mixtura.training.benchmark.run import run_recipe

__all__ = ["Entry", "Recipe", "Setting", "read_recipe", "run_recipe"]
