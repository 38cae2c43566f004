"""Optimisers as configuration: they say how, and are given the parameters later."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mixtura.core import configurable
from mixtura.core.configuration import resolve
from mixtura.core.errors import InputError
from mixtura.training.optimisation.groups import parameter_groups

__all__ = ["SGD", "AdamW", "Optimizer", "TorchOptimizer"]


class Optimizer(ABC):
    """How a model is optimised: `build(model)` gives a torch optimiser over its groups."""

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The torch optimiser for the trainable parameters of `model`."""


def _groups(
    model: nn.Module, lr: float, weight_decay: float, router_lr: float | None
) -> list[dict]:
    groups = parameter_groups(model, lr=lr, weight_decay=weight_decay, router_lr=router_lr)
    if not groups:
        raise InputError(
            f"{type(model).__name__} has no parameter to train; unfreeze something or use `test`"
        )
    return groups


@configurable
class AdamW(Optimizer):
    """AdamW with decay on weight matrices only.

    Args:
        lr: Learning rate.
        weight_decay: Decoupled weight decay; norms, biases and routers have none.
        betas: Decay of the first and second moments.
        eps: Added to the denominator.
        router_lr: Learning rate of the routers; None means the common one.

    Reference: Loshchilov, Hutter, Decoupled Weight Decay Regularization, 2019 (arXiv:1711.05101).
    """

    def __init__(
        self,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        router_lr: float | None = None,
    ) -> None:
        if len(betas) != 2:
            raise InputError(f"betas are two numbers, got {list(betas)}")
        self.lr = lr
        self.weight_decay = weight_decay
        self.betas = (betas[0], betas[1])
        self.eps = eps
        self.router_lr = router_lr

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The torch optimiser for the trainable parameters of `model`."""
        groups = _groups(model, self.lr, self.weight_decay, self.router_lr)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps)


@configurable
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    Args:
        lr: Learning rate.
        momentum: Momentum.
        weight_decay: Weight decay; norms, biases and routers have none.
        nesterov: Use Nesterov's form of momentum.
        router_lr: Learning rate of the routers; None means the common one.
    """

    def __init__(
        self,
        lr: float = 1e-2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        router_lr: float | None = None,
    ) -> None:
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.router_lr = router_lr

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The torch optimiser for the trainable parameters of `model`."""
        groups = _groups(model, self.lr, self.weight_decay, self.router_lr)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


@configurable
class TorchOptimizer(Optimizer):
    """Any optimiser by its import path, over the same parameter groups.

    Args:
        name: Import path of the class, such as `torch.optim.RAdam`.
        lr: Learning rate.
        weight_decay: Weight decay; norms, biases and routers have none.
        router_lr: Learning rate of the routers; None means the common one.
        arguments: Further arguments of that class.
    """

    def __init__(
        self,
        name: str,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        router_lr: float | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        self.cls = resolve(name)
        if not (isinstance(self.cls, type) and issubclass(self.cls, torch.optim.Optimizer)):
            raise InputError(f"expected a torch optimiser, got {name}; try torch.optim.RAdam")
        self.lr = lr
        self.weight_decay = weight_decay
        self.router_lr = router_lr
        self.arguments = arguments or {}

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The torch optimiser for the trainable parameters of `model`."""
        groups = _groups(model, self.lr, self.weight_decay, self.router_lr)
        try:
            return self.cls(groups, lr=self.lr, **self.arguments)
        except TypeError as error:
            raise InputError(f"{self.cls.__name__} cannot be built: {error}") from error
