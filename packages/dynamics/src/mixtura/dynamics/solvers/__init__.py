"""Initial value problems for many environments at once."""

from mixtura.dynamics.solvers.adaptive import AdaptiveTsit5
from mixtura.dynamics.solvers.discrete import Iteration
from mixtura.dynamics.solvers.fixed import RK4, FixedStep, Tsit5
from mixtura.dynamics.solvers.solution import Field, Solution, Status
from mixtura.dynamics.solvers.torchdiffeq import TorchDiffEq

__all__ = [
    "RK4",
    "AdaptiveTsit5",
    "Field",
    "FixedStep",
    "Iteration",
    "Solution",
    "Status",
    "TorchDiffEq",
    "Tsit5",
]
