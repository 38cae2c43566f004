"""Placeholder docstring; the package says here what it offers."""
