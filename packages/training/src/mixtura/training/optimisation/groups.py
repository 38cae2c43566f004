"""Which parameters are decayed, and which follow the router's own learning rate."""

from collections.abc import Iterator

from torch import nn

from mixtura.core import Router

__all__ = ["parameter_groups"]

NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, router_lr: float | None = None
) -> list[dict]:
    """Split the trainable parameters of `model` into at most three groups.

    `decay`: weights of two or more dimensions, with `weight_decay`. `no_decay`: norms, biases and
    everything one-dimensional (a stacked bias of experts, `(experts, dim)`, is told by its name).
    `router`: what lies inside a `mixtura.core.Router`, never decayed, with `router_lr` if given.

    Args:
        model: The model; a parameter used twice is counted once.
        lr: Learning rate.
        weight_decay: Decoupled weight decay of the first group.
        router_lr: Learning rate of the routers; None means `lr`.

    Returns:
        Groups with `params`, `name`, `lr`, `weight_decay`; empty groups are left out.
    """
    members: dict[str, list[nn.Parameter]] = {"decay": [], "no_decay": [], "router": []}
    for name, parameter, owner, in_router in _walk(model):
        if in_router:
            members["router"].append(parameter)
        elif isinstance(owner, NORMS) or parameter.ndim < 2 or name.endswith("bias"):
            members["no_decay"].append(parameter)
        else:
            members["decay"].append(parameter)
    settings = {
        "decay": {"lr": lr, "weight_decay": weight_decay},
        "no_decay": {"lr": lr, "weight_decay": 0.0},
        "router": {"lr": lr if router_lr is None else router_lr, "weight_decay": 0.0},
    }
    return [
        {"params": params, "name": name, **settings[name]}
        for name, params in members.items()
        if params
    ]


def _walk(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module, bool]]:
    """Each trainable parameter once: its local name, its module, whether a router holds it."""
    routers = {id(inner) for m in model.modules() if isinstance(m, Router) for inner in m.modules()}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter, module, id(module) in routers
