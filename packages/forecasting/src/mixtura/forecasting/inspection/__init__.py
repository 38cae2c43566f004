"""What the experts of a forecasting network do: by time, frequency, place and error."""

from mixtura.forecasting.inspection.windows import ExpertView, expert_views

__all__ = ["ExpertView", "expert_views"]
