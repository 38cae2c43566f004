"""MixER: a mixture of meta-learned vector fields, routed by environment."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core import InputError, MoELayer, Router, Routing, configurable
from mixtura.core.selections import Selection
from mixtura.dynamics.experts import VectorFields
from mixtura.dynamics.gate import ContextScore, HardTop
from mixtura.dynamics.solvers import RK4, Iteration, Solution

__all__ = ["MixER", "check_solver", "one_expert_each", "usual_solver"]


@configurable
class MixER(nn.Module):
    """K vector fields and a gate that looks at an environment's context.

    An environment is routed once per solve; the weights of its expert are gathered and merged with
    its context once, and all environments are integrated together whatever their expert.

    Reference: Nzoyem et al., MixER: Better Mixture of Experts Routing for Hierarchical
    Meta-Learning, 2025, arXiv 2502.05335.

    Args:
        experts: the vector fields.
        selection: `HardTop` when not given (the gate is then fitted in closed form);
            `TopK(1, renormalize="never")` is the gate trained by gradients.
        gate_bias: whether the gate has an offset.
    """

    def __init__(
        self,
        experts: VectorFields,
        selection: Selection | None = None,
        gate_bias: bool = True,
    ) -> None:
        super().__init__()
        score = ContextScore(experts.context_dim, experts.num_experts, gate_bias)
        router = Router(score, HardTop() if selection is None else selection)
        self.layer = MoELayer(router, experts)
        self.score = score

    @property
    def experts(self) -> VectorFields:
        """The vector fields."""
        experts = self.layer.experts
        assert isinstance(experts, VectorFields)
        return experts

    @property
    def num_experts(self) -> int:
        """K."""
        return self.experts.num_experts

    @property
    def trained_by_gradient(self) -> bool:
        """Whether the task's gradient reaches the gate."""
        return not isinstance(self.layer.router.selection, HardTop)

    def gate_parameters(self) -> list[nn.Parameter]:
        """The gate's own parameters."""
        return list(self.layer.router.parameters())

    def route(
        self,
        contexts: Float[Tensor, "environments context"],
        forced: Int[Tensor, "environments"] | None = None,
    ) -> Routing:
        """The decision for each environment; `forced` names an expert, -1 leaves it to the gate."""
        return self.layer.route(contexts, forced=forced)

    def field(
        self,
        contexts: Float[Tensor, "environments context"],
        *,
        routing: Routing | None = None,
        expansion: Float[Tensor, "environments context"] | None = None,
        order: int = 0,
    ) -> Callable[[Tensor], Tensor]:
        """dx/dt of all environments as a function of their states (environments, rows, dims).

        Args:
            contexts: xi of each environment.
            routing: the decision; made on `expansion`, from order 1 on, or on `contexts` when not
                given.
            expansion: the context about which the field is expanded.
            order: order of the Taylor expansion.
        """
        if routing is None:
            routing = self.route(contexts if expansion is None or order == 0 else expansion)
        return self.experts.bind(routing, contexts, expansion, order)

    def forward(
        self,
        contexts: Float[Tensor, "environments context"],
        x0: Float[Tensor, "environments trajectories dims"],
        t: Float[Tensor, "*times"],
        *,
        solver: nn.Module | None = None,
        routing: Routing | None = None,
        expansion: Float[Tensor, "environments context"] | None = None,
        order: int = 0,
    ) -> Solution:
        """Integrate every trajectory of every environment in one solve.

        Args:
            contexts: xi of each environment.
            x0: initial states.
            t: times, shared or per environment.
            solver: the experts' usual one when not given (`usual_solver`).
            routing: see `field`.
            expansion: see `field`.
            order: see `field`.
        """
        if x0.ndim != 3 or x0.shape[-1] != self.experts.dim or len(x0) != len(contexts):
            raise InputError(
                f"expected initial states ({len(contexts)}, trajectories, {self.experts.dim}), one "
                f"row per context, got {tuple(x0.shape)}"
            )
        bound = self.field(contexts, routing=routing, expansion=expansion, order=order)
        solver = usual_solver(self.experts) if solver is None else solver
        check_solver(solver, self.experts)
        return solver(Autonomous(bound), x0, t)


def usual_solver(experts: VectorFields) -> nn.Module:
    """RK4 with one step per interval; for maps, one application."""
    return Iteration() if experts.discrete else RK4()


def check_solver(solver: nn.Module, experts: VectorFields) -> None:
    """Refuse to integrate a map, or to iterate a vector field."""
    if getattr(solver, "discrete", False) != experts.discrete:
        wanted = "a map; use Iteration()" if experts.discrete else "a vector field; use RK4()"
        raise InputError(
            f"{type(solver).__name__} does not fit {type(experts).__name__}, which is {wanted}"
        )


class Autonomous:
    """A field of states alone in the form that solvers call; hands its layers through."""

    def __init__(self, bound: Callable[[Tensor], Tensor]) -> None:
        self.bound = bound
        self.chain = getattr(bound, "chain", None)

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """dx/dt; the time does not matter."""
        return self.bound(x)


def one_expert_each(expert: Int[Tensor, "units"], num_experts: int) -> Routing:
    """The routing that sends each unit to a given expert."""
    weight = torch.ones(len(expert), 1, device=expert.device)
    return Routing.from_choices(expert[:, None], weight, num_experts=num_experts)
