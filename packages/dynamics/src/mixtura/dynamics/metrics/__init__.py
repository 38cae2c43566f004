"""Metrics of reconstructed dynamics."""
