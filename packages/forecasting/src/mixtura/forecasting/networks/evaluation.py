"""Forecasts are made in evaluation mode, whatever mode the network is in."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of before afterwards.

    Args:
        network: the network.
    """
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
