"""From configurations to a table, pictures and a shared model, in one run."""

from mixtura.forecasting.showcase.drawing import draw_forecasts, draw_routing, expert_loads
from mixtura.forecasting.showcase.jobs import Job, run_job
from mixtura.forecasting.showcase.reload import check_sharing
from mixtura.forecasting.showcase.stages import Stages

__all__ = [
    "Job",
    "Stages",
    "check_sharing",
    "draw_forecasts",
    "draw_routing",
    "expert_loads",
    "run_job",
]
