"""Mixture-of-Experts forecasting: networks, training, predictors, reference checkpoints."""
