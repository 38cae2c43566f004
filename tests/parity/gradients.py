"""Gradient norms under the reference's parameter names."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def gradient_norms(module: nn.Module, rules: Iterable[Any], order: Sequence[str]) -> Tensor:
    """The norm of each reference parameter's gradient, in `order`.

    Args:
        module: after backward; a parameter without a gradient counts as zero.
        rules: of the checkpoint map; each says how to split a tensor of ours (`ours`, `theirs`,
            `save`).
        order: names in the reference.
    """
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in module.named_parameters()
    }
    norms: dict[str, Tensor] = {}
    for rule in rules:
        if rule.ours in gradients:
            pieces = rule.save(gradients[rule.ours])
            norms.update((n, p.norm()) for n, p in zip(rule.theirs, pieces, strict=True))
    return torch.stack([norms[name] for name in order])
