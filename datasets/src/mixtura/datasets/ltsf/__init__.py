"""The long-term series forecasting protocol: splits, scaling, windows, calendar, naive scores."""
