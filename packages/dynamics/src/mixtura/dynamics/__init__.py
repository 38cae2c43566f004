"""MixER and its family: meta-learned reconstruction of hierarchies of dynamical systems."""
