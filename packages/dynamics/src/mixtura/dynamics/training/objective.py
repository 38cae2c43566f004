"""The loss of reconstructed trajectories."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mixtura.core import Routing, configurable
from mixtura.dynamics.contexts import PoolStrategy, context_pool
from mixtura.dynamics.metrics.errors import mse
from mixtura.dynamics.mixer import MixER, one_expert_each
from mixtura.dynamics.solvers import Solution
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["Objective", "ObjectiveValue", "environment_losses"]


@dataclass
class ObjectiveValue:
    """A loss and what it is made of.

    Attributes:
        loss: scalar with gradient.
        per_environment: squared error of each contributing environment.
        exploded: which of them have a trajectory that did not reach its last time.
        failures: sentences about these trajectories.
    """

    loss: Float[Tensor, ""]
    per_environment: Float[Tensor, "contributors"]
    exploded: Bool[Tensor, "contributors"]
    failures: list[str]


@configurable
class Objective(nn.Module):
    """Mean squared error over a pool of expansion points, trajectories, times and dimensions.

    Args:
        solver: the experts' usual one when not given (RK4 with one step per interval).
        order: order of the Taylor expansion in the context.
        pool: expansion points per environment.
        pool_strategy: how they are chosen among the contributing environments.
        context_penalty: on the mean absolute context of an environment.
        reweight: weigh environments by the softmax of their losses instead of equally.
    """

    def __init__(
        self,
        solver: nn.Module | None = None,
        order: int = 0,
        pool: int = 1,
        pool_strategy: PoolStrategy = "NF",
        context_penalty: float = 0.0,
        reweight: bool = False,
    ) -> None:
        super().__init__()
        self.solver = solver
        self.order, self.pool = order, pool
        self.pool_strategy: PoolStrategy = pool_strategy
        self.context_penalty, self.reweight = context_penalty, reweight

    def forward(
        self,
        mixer: MixER,
        contexts: Float[Tensor, "environments context"],
        data: Trajectories,
        *,
        forced: Int[Tensor, "environments"] | None = None,
        numbers: Int[Tensor, "environments"] | None = None,
        generator: torch.Generator | None = None,
    ) -> ObjectiveValue:
        """The loss of the given environments, all of which contribute.

        Args:
            mixer: the network.
            contexts: of the environments.
            data: their trajectories, in the network's units.
            forced: expert of each; -1 leaves it to the gate.
            numbers: what reports call them; their places when not given.
            generator: draws a random pool.
        """
        solution, errors = self.solve(mixer, contexts, data, forced, generator)
        losses = errors + self.context_penalty * contexts.abs().mean(1)
        weights = torch.softmax(losses, 0) if self.reweight else 1 / len(losses)
        exploded = ~solution.ok.view(len(data), -1).all(1)
        failures = []
        if bool(exploded.any()):
            size = len(solution.status) // len(data)
            named = torch.arange(len(data)) if numbers is None else numbers
            failures = solution.failures(named.repeat_interleave(size))
        return ObjectiveValue((weights * losses).sum(), errors, exploded, failures)

    def begin(self, outer_step: int) -> None:
        """Recipes say where they are; this loss is the same everywhere."""

    def solve(
        self,
        mixer: MixER,
        contexts: Tensor,
        data: Trajectories,
        forced: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Solution, Float[Tensor, "environments"]]:
        """The solution and the squared error of each environment, all in one batch."""
        if self.pool == 1 and self.pool_strategy == "NF":
            # expanded about itself: the Taylor terms vanish, but not their gradient
            pool = torch.arange(len(data), device=contexts.device)[:, None]
        else:
            pool = context_pool(contexts, self.pool, self.pool_strategy, generator)
        size = pool.shape[1]
        own = contexts.repeat_interleave(size, 0) if size > 1 else contexts
        around = contexts[pool.reshape(-1)] if self.order else None
        looked_at = own if around is None else around
        repeated_force = None if forced is None else forced.repeat_interleave(size)
        routing = mixer.route(looked_at, repeated_force)
        target = data.repeat(size)
        solution = self.predict(mixer, own, target, routing, around)
        errors = self.errors(solution, target)
        return solution, errors.view(len(data), size).mean(1)

    def errors(self, solution: Solution, data: Trajectories) -> Float[Tensor, "units"]:
        """Error of each unit; the mean square here."""
        return environment_losses(solution, data)

    def predict(
        self,
        mixer: MixER,
        contexts: Float[Tensor, "units context"],
        data: Trajectories,
        routing: Routing,
        around: Float[Tensor, "units context"] | None = None,
    ) -> Solution:
        """What is compared with the data: trajectories from their initial states.

        Args:
            mixer: the network.
            contexts: of the units.
            data: their trajectories.
            routing: their experts.
            around: expansion points, for an order above zero.
        """
        return mixer(
            contexts,
            data.x0,
            data.t,
            solver=self.solver,
            routing=routing,
            expansion=around,
            order=0 if around is None else self.order,
        )

    @torch.no_grad()
    def expert_losses(
        self,
        mixer: MixER,
        contexts: Float[Tensor, "environments context"],
        data: Trajectories,
    ) -> Float[Tensor, "environments experts"]:
        """Loss of each environment with each expert alone, at order 0, in one batched solve.

        The penalty is on the part of the context that the expert reads.
        """
        k = mixer.num_experts
        expert = torch.arange(k, device=contexts.device).repeat(len(contexts))
        repeated, every = contexts.repeat_interleave(k, 0), data.repeat(k)
        solution = self.predict(mixer, repeated, every, one_expert_each(expert, k))
        errors = self.errors(solution, every).view(-1, k)
        if not self.context_penalty:
            return errors
        chunks = mixer.experts.chunk(repeated, expert)
        return errors + self.context_penalty * chunks.abs().mean(1).view(-1, k)


def environment_losses(solution: Solution, data: Trajectories) -> Float[Tensor, "environments"]:
    """Mean squared error of each environment over what was observed.

    A trajectory that grew beyond the solver's bound is compared at the bound, without gradient.
    """
    return mse(solution.states, data.x, data.observed)
