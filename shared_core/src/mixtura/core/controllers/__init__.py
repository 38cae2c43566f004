"""Controllers: what changes a router between optimiser steps."""

from mixtura.core.controllers.base import Controller
from mixtura.core.controllers.bias_balance import BiasBalance

__all__ = ["BiasBalance", "Controller"]
