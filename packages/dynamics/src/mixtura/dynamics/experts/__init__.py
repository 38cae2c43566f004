"""Meta-learners as banks of experts: each expert is a whole vector field (or recurrence)."""

from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.cavia import CAVIA
from mixtura.dynamics.experts.coda import CoDA
from mixtura.dynamics.experts.geps import GEPS, OfficialGEPS
from mixtura.dynamics.experts.ncf import NCF
from mixtura.dynamics.experts.shplrnn import ShPLRNN

__all__ = ["CAVIA", "GEPS", "NCF", "CoDA", "OfficialGEPS", "ShPLRNN", "VectorFields"]
