"""Training: objectives, optimisers and recipes."""
