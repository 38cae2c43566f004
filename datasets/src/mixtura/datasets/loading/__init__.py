"""Batches of windows for training: torch and Lightning, behind the extra `torch`."""
