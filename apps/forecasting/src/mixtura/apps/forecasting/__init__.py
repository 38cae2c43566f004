"""The forecasting app: `mixtura-forecasting`, its configurations, recipes and results."""
