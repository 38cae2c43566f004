"""Structural edits: fewer experts, more, or another one in an expert's place."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.configuration import ARGUMENTS
from mixtura.core.errors import InputError
from mixtura.core.experts import Experts, ModuleExperts, StackedExperts
from mixtura.core.layer import MoELayer
from mixtura.core.pairs import check_pair
from mixtura.core.router import Router
from mixtura.core.scores.base import Score
from mixtura.core.selections.base import Selection

__all__ = ["append_experts", "replace_expert", "select_experts"]


@torch.no_grad()
def select_experts(layer: MoELayer, index: Sequence[int]) -> MoELayer:
    """Keep these routed experts, in this order, and the reserved ones; changed in place.

    Router rows, balance biases, prototypes and whatever else has one entry per expert go along, and
    the layer's configuration says the new number, so that it is saved and built like any other. A
    number may occur twice (that is how experts are appended). Top-k choices shrink to what is left.

    Args:
        layer: the layer.
        index: numbers of routed experts.

    Raises:
        InputError: for a number that does not exist, and for routers or experts that cannot be
            taken apart.
    """
    routed = layer.router.score_function.num_experts
    index = list(index)
    if not index or not all(0 <= e < routed for e in index):
        raise InputError(f"expected numbers between 0 and {routed - 1}, got {index}")
    reserved = list(range(routed, layer.num_experts))
    _check_experts(layer.experts)
    rows = torch.tensor(index)
    _select_in_router(deepcopy(layer.router), rows, routed)  # refuses before anything has changed
    _select_in_router(layer.router, rows, routed)
    _select_experts(layer.experts, index + reserved)
    return layer


@torch.no_grad()
def append_experts(
    layer: MoELayer,
    count: int,
    *,
    sources: Sequence[int] | None = None,
    noise: float = 0.0,
    bank: Experts | None = None,
) -> MoELayer:
    """Add routed experts behind the others; changed in place.

    Args:
        layer: the layer.
        count: how many.
        sources: routed experts whose weights and router rows they copy; one after the other from
            the first on when not given.
        noise: relative to the standard deviation, added to the new router rows.
        bank: experts of the same kind whose weights the new ones take instead.
    """
    routed = layer.router.score_function.num_experts
    sources = [e % routed for e in range(count)] if sources is None else list(sources)
    if count < 1 or len(sources) != count:
        raise InputError(f"expected {count} sources for {count} new experts, got {len(sources)}")
    if bank is not None and (type(bank) is not type(layer.experts) or bank.num_experts != count):
        raise InputError(
            f"the new experts must be {count} of {type(layer.experts).__name__}, got "
            f"{bank.num_experts} of {type(bank).__name__}"
        )
    select_experts(layer, [*range(routed), *sources])
    if bank is not None:
        for position in range(count):
            _copy_expert(layer.experts, routed + position, bank, position)
    if noise:
        for owner, name, axis in _per_expert(layer.router):
            value = owner.get_parameter(name) if name in dict(owner.named_parameters()) else None
            if value is not None and value.numel() > 1:
                new = value.narrow(axis, routed, count)
                new += noise * value.std() * torch.randn_like(new)
    return layer


@torch.no_grad()
def replace_expert(layer: MoELayer, expert: int, module: nn.Module) -> MoELayer:
    """Put another module in an expert's place; changed in place.

    A bank of one expert of the same kind gives its weights. Anything else turns the bank into a
    list of modules, which costs the batched and grouped products.

    Args:
        layer: the layer.
        expert: its number.
        module: from rows to rows of the same width.
    """
    experts = layer.experts
    if not 0 <= expert < experts.num_experts:
        raise InputError(f"expected a number between 0 and {experts.num_experts - 1}, got {expert}")
    if isinstance(module, StackedExperts) and type(module) is type(experts):
        if module.num_experts != 1:
            raise InputError(f"expected a bank of one expert, got {module.num_experts}")
        _copy_expert(experts, expert, module, 0)
        return layer
    if not isinstance(experts, ModuleExperts):
        _check_experts(experts)
        members = [OneExpert(_single(experts, e)) for e in range(experts.num_experts)]
        experts = ModuleExperts(members).train(experts.training)
    experts.members[expert] = module
    _remember(experts, modules=list(experts.members))
    layer.experts = experts
    _remember(layer, experts=experts)
    return layer


class OneExpert(nn.Module):
    """A bank of one expert as a plain module.

    Args:
        bank: the bank.
    """

    def __init__(self, bank: Experts) -> None:
        super().__init__()
        self.bank = bank

    def forward(self, rows: Tensor) -> Tensor:
        """The expert's output."""
        return self.bank.one(0, rows)


def _per_expert(router: nn.Module) -> list[tuple[nn.Module, str, int]]:
    found = []
    for module in router.modules():
        for name, axis in getattr(module, "expert_axes", {}).items():
            found.append((module, name, axis))
    return found


def _select_in_router(router: Router, rows: Tensor, routed: int) -> None:
    score = router.score_function
    for module in router.modules():
        if isinstance(module, Score | Selection | Adjustment):
            module.check_selected(rows.tolist(), routed)
    owners = {id(owner) for owner, _, _ in _per_expert(router)}
    if not any(id(module) in owners for module in score.modules()):
        raise InputError(f"{type(score).__name__} has no part for each expert that could be kept")
    for owner, name, axis in _per_expert(router):
        path, _, last = name.rpartition(".")
        holder = owner.get_submodule(path) if path else owner
        old = getattr(holder, last)
        if old is None or old.shape[axis] != routed:
            continue
        new = old.index_select(axis, rows.to(old.device))
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
        setattr(holder, last, new)
        if isinstance(holder, nn.Linear):
            holder.out_features = len(rows)
    for module in router.modules():
        arguments = module.__dict__.get(ARGUMENTS, {})
        k = arguments.get("k")
        outgrown = []
        if getattr(module, "num_experts", None) == routed and module is not router:
            outgrown.append("num_experts")
        if isinstance(k, int) and "k" in module.__dict__ and k > len(rows):
            outgrown.append("k")
            _remember(module, k=len(rows))
        if arguments.get("num_experts") == routed:
            _remember(module, num_experts=len(rows))
        for name in outgrown:
            setattr(module, name, len(rows))
    check_pair(
        score,
        router.selection,
        router.activation,
        list(router.adjustments),
        reserved=router.reserved,
    )


def _check_experts(experts: Experts) -> None:
    if not isinstance(experts, StackedExperts | ModuleExperts):
        raise InputError(
            f"{type(experts).__name__} cannot be taken apart; use stacked experts or ModuleExperts"
        )


def _select_experts(experts: Experts, index: list[int]) -> None:
    old = experts.num_experts
    experts.num_experts = len(index)
    if isinstance(experts, ModuleExperts):
        members = list(experts.members)
        experts.members = nn.ModuleList(
            members[e] if index.index(e) == i else deepcopy(members[e]) for i, e in enumerate(index)
        )
        _remember(experts, modules=list(experts.members))
        return
    rows = torch.tensor(index)
    for name, value in [*experts._parameters.items(), *experts._buffers.items()]:
        if value is not None and value.ndim and value.shape[0] == old:
            new = value.index_select(0, rows.to(value.device))
            if isinstance(value, nn.Parameter):
                new = nn.Parameter(new, requires_grad=value.requires_grad)
            setattr(experts, name, new)
    _remember(experts, num_experts=len(index))


def _single(experts: Experts, expert: int) -> Experts:
    single = deepcopy(experts)
    _select_experts(single, [expert])
    return single


def _copy_expert(target: Experts, position: int, source: Experts, number: int) -> None:
    if isinstance(target, ModuleExperts) and isinstance(source, ModuleExperts):
        target.members[position] = deepcopy(source.members[number])
        return
    theirs = dict(source.named_parameters())
    for name, value in target.named_parameters():
        if theirs[name].shape[1:] != value.shape[1:]:
            raise InputError(
                f"{name} of an expert here is {tuple(value.shape[1:])}, of the new one "
                f"{tuple(theirs[name].shape[1:])}"
            )
        value[position] = theirs[name][number].to(value)


def _remember(owner: object, **changed: object) -> None:
    arguments = owner.__dict__.get(ARGUMENTS)
    if arguments is not None:
        arguments.update({name: value for name, value in changed.items() if name in arguments})
