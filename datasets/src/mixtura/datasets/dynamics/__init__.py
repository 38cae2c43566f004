"""Dynamical systems: exact generators of the published sets, and readers."""
