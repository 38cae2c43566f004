"""Experts that are whole vector fields, each with a context of its own."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core import InputError, Routing
from mixtura.core.experts import Experts
from mixtura.dynamics.experts.jets import Jet
from mixtura.dynamics.solvers.adjoint import Chain

__all__ = ["VectorFields"]


@runtime_checkable
class Settled(Protocol):
    """Weights settled for one solve: N vector fields or maps, one per assignment."""

    def __call__(self, x: Float[Tensor, "assignments rows dims"]) -> Tensor:
        """dx/dt, or the next states."""
        ...

    def chain(self) -> Chain | None:
        """The layers one after the other, where a solver may differentiate by itself."""
        ...


class BoundField:
    """The vector field of all environments, settled for one solve.

    Attributes:
        chain: the layers, where every environment has one expert of weight one and the field is not
            expanded; a solver may then differentiate by itself.
    """

    def __init__(self, field: Settled, unit: Tensor | None, weight: Tensor | None) -> None:
        self.field, self.unit, self.weight = field, unit, weight
        self.chain: Chain | None = None
        if unit is None and weight is None:
            self.chain = field.chain()

    def __call__(self, x: Float[Tensor, "units *rows"]) -> Float[Tensor, "units *rows"]:
        """dx/dt at the states `x` (units, *rows, dims)."""
        rows = x.reshape(x.shape[0], -1, x.shape[-1])
        y = self.field(rows if self.unit is None else rows.index_select(0, self.unit))
        if self.weight is not None:
            y = y * self.weight.to(y.dtype).view(-1, 1, 1)
        if self.unit is not None:
            y = torch.zeros_like(rows).index_add(0, self.unit, y)
        return y.reshape(x.shape)


class VectorFields(Experts):
    """Base of the meta-learners: K vector fields, a context vector per environment.

    The routing unit is an environment. `bind` settles the weights of every environment once; the
    function it returns is all that an ODE solver calls. A subclass writes `specialise`.

    Args:
        num_experts: K.
        dim: D, state dimensions.
        context_dim: C, size of an environment's context vector.
        split_context: cut the context into K equal chunks, one for each expert; otherwise each
            expert sees all of it.
        shift_context: whether an expert adds its learnable scalar to every entry of its context.

    Attributes:
        discrete: whether the experts are maps to the next sample instead of vector fields.
    """

    dim: int
    discrete = False

    def __init__(
        self,
        num_experts: int,
        dim: int,
        context_dim: int,
        split_context: bool = True,
        shift_context: bool = True,
    ) -> None:
        super().__init__()
        if num_experts < 1 or dim < 1 or context_dim < 1:
            raise InputError(
                "a vector field needs num_experts, dim and context_dim of at least 1, got "
                f"{num_experts}, {dim} and {context_dim}"
            )
        if split_context and context_dim % num_experts:
            raise InputError(
                f"the context of {context_dim} entries cannot be cut into {num_experts} equal "
                "chunks; make context_dim a multiple of num_experts or set split_context=False"
            )
        self.num_experts, self.context_dim = num_experts, context_dim
        self.dim = dim  # pyright: ignore[reportIncompatibleVariableOverride]
        self.split_context, self.shift_context = split_context, shift_context
        self.chunk_dim = context_dim // num_experts if split_context else context_dim
        self.context_shift = nn.Parameter(torch.zeros(num_experts))

    def specialise(self, context: Jet, expert: Int[Tensor, "assignments"]) -> Settled:
        """Settle the weights for the jets of chunks (N, C_e) of environments at their experts."""
        raise NotImplementedError

    def chunk(
        self,
        contexts: Float[Tensor, "assignments context"],
        expert: Int[Tensor, "assignments"],
    ) -> Float[Tensor, "assignments chunk"]:
        """The part of each context that its expert reads."""
        if not self.split_context:
            return contexts
        parts = contexts.reshape(len(contexts), self.num_experts, self.chunk_dim)
        index = expert.view(-1, 1, 1).expand(-1, 1, self.chunk_dim)
        return parts.gather(1, index)[:, 0]

    def bind(
        self,
        routing: Routing,
        contexts: Float[Tensor, "units context"] | None = None,
        expansion: Float[Tensor, "units context"] | None = None,
        order: int = 0,
    ) -> Callable[[Tensor], Tensor]:
        """The vector field of all environments, with weights gathered and merged once.

        Args:
            routing: which environment goes to which expert.
            contexts: xi of each environment; zero when not given.
            expansion: xi', about which the field is expanded in the context (from order 1 on).
            order: order of the Taylor expansion (contextual self-modulation; Nzoyem et al.,
                Neural Context Flows, 2024, arXiv 2405.02154).

        Returns:
            `f(x (units, *rows, dims)) -> (units, *rows, dims)`.
        """
        if order < 0:
            raise InputError(f"the Taylor order must not be negative, got {order}")
        if contexts is None:
            contexts = self.context_shift.new_zeros(routing.num_units, self.context_dim)
        single = routing.choices == 1 and not routing.may_be_invalid
        if single:
            unit, expert, weight = None, routing.expert, routing.weight
        else:
            live = torch.nonzero(routing.expert < self.num_experts)[:, 0]
            unit, expert, weight = (v[live] for v in (routing.unit, routing.expert, routing.weight))
            if len(unit) == routing.num_units and bool((unit.diff() == 1).all()):
                unit = None  # every environment has one expert, in order
        field = self.settle(expert, contexts, expansion, order, unit)
        plain = not weight.requires_grad and bool((weight == 1).all())

        return BoundField(field, unit, None if plain else weight)

    def one(
        self,
        expert: int,
        rows: Float[Tensor, "rows *rest"],
        contexts: Float[Tensor, "rows context"] | None = None,
    ) -> Float[Tensor, "rows *rest"]:
        """One expert's derivatives for rows of its own, at the given contexts or at zero."""
        index = torch.full((rows.shape[0], 1), expert, device=rows.device)
        routing = Routing.from_choices(
            index, torch.ones_like(index, dtype=rows.dtype), num_experts=self.num_experts
        )
        return self.bind(routing, contexts)(rows[:, None] if rows.ndim == 2 else rows).reshape(
            rows.shape
        )

    def settle(
        self,
        expert: Int[Tensor, "assignments"],
        contexts: Float[Tensor, "units context"],
        expansion: Float[Tensor, "units context"] | None = None,
        order: int = 0,
        unit: Int[Tensor, "assignments"] | None = None,
    ) -> Any:
        """`specialise` for the jets of the chunks that the experts read.

        Args:
            expert: of each assignment.
            contexts: xi of each environment.
            expansion: xi' of each environment.
            order: of the expansion.
            unit: environment of each assignment; in order, one each, when not given.
        """
        if unit is not None:
            contexts = contexts.index_select(0, unit)
            expansion = None if expansion is None else expansion.index_select(0, unit)
        shift: Tensor | float = 0.0
        if self.shift_context:
            shift = self.context_shift.index_select(0, expert)[:, None]
        if order == 0:
            return self.specialise([self.chunk(contexts, expert) + shift], expert)
        base = contexts if expansion is None else expansion
        direction = self.chunk(contexts - base, expert)
        jet = [self.chunk(base, expert) + shift, direction, *[None] * (order - 1)]
        return self.specialise(jet, expert)
