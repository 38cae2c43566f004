"""Training: objectives, optimisers and recipes."""

from mixtura.dynamics.training.adabelief import AdaBelief
from mixtura.dynamics.training.cavia import CAVIATraining
from mixtura.dynamics.training.geps import ForcedObjective, GEPSTraining
from mixtura.dynamics.training.objective import Objective
from mixtura.dynamics.training.pam import PAM
from mixtura.dynamics.training.recipe import Recipe
from mixtura.dynamics.training.report import StepReport
from mixtura.dynamics.training.sequence import SequenceObjective
from mixtura.dynamics.training.windowed import Stage, WindowedTraining

__all__ = [
    "PAM",
    "AdaBelief",
    "CAVIATraining",
    "ForcedObjective",
    "GEPSTraining",
    "Objective",
    "Recipe",
    "SequenceObjective",
    "Stage",
    "StepReport",
    "WindowedTraining",
]
