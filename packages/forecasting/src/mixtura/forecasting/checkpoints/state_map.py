"""A fixed map between a reference implementation's state dict and ours, in both directions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixtura.core.errors import InputError

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Rule:
    """One of our tensors, and the reference's tensors that hold the same numbers.

    Attributes:
        ours: name in our state dict.
        theirs: names in the reference's state dict.
        load: their tensors -> our tensor.
        save: our tensor -> their tensors.
    """

    ours: str
    theirs: tuple[str, ...]
    load: Callable[[list[Tensor]], Tensor]
    save: Callable[[Tensor], Sequence[Tensor]]


def rename(ours: str, theirs: str) -> Rule:
    """The same tensor under another name."""
    return Rule(ours, (theirs,), lambda t: t[0], lambda t: (t,))


def squeeze(ours: str, theirs: str) -> Rule:
    """A linear weight that the reference keeps as a convolution of width 1."""
    return Rule(ours, (theirs,), lambda t: t[0].squeeze(-1), lambda t: (t.unsqueeze(-1),))


def stack(ours: str, theirs: Iterable[str]) -> Rule:
    """Equal tensors of several modules, stacked along a new first dimension."""
    return Rule(ours, tuple(theirs), torch.stack, lambda t: t.unbind(0))


def stack_pairs(
    ours: str, firsts: Iterable[str], seconds: Iterable[str], first_rows: int | None = None
) -> Rule:
    """Pairs of tensors of several modules: each pair concatenated, then stacked.

    Args:
        ours: name in our state dict.
        firsts: names of the first tensor of each pair.
        seconds: names of the second.
        first_rows: rows of a first tensor; half of both if not given.
    """
    firsts, seconds = tuple(firsts), tuple(seconds)
    count = len(firsts)

    def load(tensors: list[Tensor]) -> Tensor:
        return torch.cat((torch.stack(tensors[:count]), torch.stack(tensors[count:])), 1)

    def save(tensor: Tensor) -> Sequence[Tensor]:
        rows = tensor.shape[1] // 2 if first_rows is None else first_rows
        first, second = tensor[:, :rows], tensor[:, rows:]
        return (*first.unbind(0), *second.unbind(0))

    return Rule(ours, firsts + seconds, load, save)


def load_state(rules: Iterable[Rule], theirs: Mapping[str, Tensor]) -> StateDict:
    """Our state dict from the reference's.

    Raises:
        InputError: naming missing and unexpected tensors, or tensors that do not go together.
    """
    rules = list(rules)
    wanted = {name for rule in rules for name in rule.theirs}
    missing, extra = sorted(wanted - set(theirs)), sorted(set(theirs) - wanted)
    if missing or extra:
        raise InputError(
            "the checkpoint does not belong to this model: "
            + "; ".join(
                f"{len(names)} {kind} tensors ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
                for kind, names in (("missing", missing), ("unexpected", extra))
                if names
            )
            + "; build the model with the checkpoint's own configuration"
        )
    state = {}
    for rule in rules:
        try:
            state[rule.ours] = rule.load([theirs[name] for name in rule.theirs])
        except RuntimeError as error:
            sizes = {name: tuple(theirs[name].shape) for name in rule.theirs}
            raise InputError(
                f"the checkpoint's tensors for {rule.ours} do not go together: {sizes}; build the "
                "model with the checkpoint's own configuration"
            ) from error
    return state


def save_state(rules: Iterable[Rule], ours: Mapping[str, Tensor]) -> StateDict:
    """The reference's state dict from ours."""
    state: StateDict = {}
    for rule in rules:
        tensors = [tensor.contiguous() for tensor in rule.save(ours[rule.ours])]
        state.update(zip(rule.theirs, tensors, strict=True))
    return state


def load_into(module: torch.nn.Module, rules: Iterable[Rule], theirs: Mapping[str, Tensor]) -> None:
    """Load the reference's state dict into `module`, strictly.

    Raises:
        InputError: for missing or unexpected tensors, or another shape.
    """
    state = load_state(rules, theirs)
    own = module.state_dict()
    for name, tensor in state.items():
        if name in own and own[name].shape != tensor.shape:
            raise InputError(
                f"the checkpoint's {name} has shape {tuple(tensor.shape)}, this model needs "
                f"{tuple(own[name].shape)}; build the model with the checkpoint's own configuration"
            )
    module.load_state_dict(state, strict=True)
