"""AdaBelief with both small constants inside and outside the root."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mixtura.core import InputError

__all__ = ["AdaBelief"]


class AdaBelief(Optimizer):
    """`s = b2 s + (1 - b2) (g - m)^2 + eps_root`, step `lr m_hat / (sqrt(s_hat) + eps)`.

    The definition of optax, whose defaults (1e-16 twice) differ from the common ports to torch.

    Zhuang et al., AdaBelief Optimizer, 2020, arXiv 2010.07468.

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the two moments.
        eps: added to the root.
        eps_root: added to the second moment in every step.
        shared: take the entries of the first axis one after another, as parameters of their own
            that share one set of moments; `lr` may then be one number for each.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        eps_root: float = 1e-16,
        shared: bool = False,
    ) -> None:
        if lr < 0:
            raise InputError(f"lr must not be negative, got {lr}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "shared": shared}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step; a parameter without gradient keeps its moments and its value."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if not group["shared"]:
                self.move(group, parameters, parameters, [p.grad for p in parameters], group["lr"])
                continue
            for k in range(len(parameters[0])):
                slices = ([p[k] for p in parameters], [p.grad[k] for p in parameters])
                lr = group["lr"] if isinstance(group["lr"], float) else group["lr"][k]
                self.move(group, parameters, *slices, lr)
        return loss

    def move(
        self,
        group: dict[str, Any],
        owners: list[Tensor],
        parameters: list[Tensor],
        gradients: list[Tensor],
        lr: float,
    ) -> None:
        """Move `parameters`, with the moments that are kept for `owners`."""
        first, second, corrections = [], [], []
        beta1, beta2 = group["betas"]
        for owner, p in zip(owners, parameters, strict=True):
            state = self.state[owner]
            if not state:
                state["step"] = 0
                state["mean"] = torch.zeros_like(p)
                state["belief"] = torch.zeros_like(p)
            state["step"] += 1
            first.append(state["mean"])
            second.append(state["belief"])
            corrections.append((1 - beta1 ** state["step"], 1 - beta2 ** state["step"]))
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        surprise = torch._foreach_sub(gradients, first)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, surprise, surprise, 1 - beta2)
        torch._foreach_add_(second, group["eps_root"])
        scale = torch._foreach_div(second, [c for _, c in corrections])
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, group["eps"])
        move = torch._foreach_div(first, [c for c, _ in corrections])
        torch._foreach_div_(move, scale)
        torch._foreach_add_(parameters, move, alpha=-lr)
