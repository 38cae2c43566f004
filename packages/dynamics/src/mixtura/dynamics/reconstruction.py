"""A trained system: network, contexts of the known environments, gate, scale of the data."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core import InputError, Routing, configurable, routers
from mixtura.dynamics.contexts import Start, initial_contexts
from mixtura.dynamics.gate import ClosedFormGate, ExpertCosts, GateFit
from mixtura.dynamics.mixer import MixER, check_solver, one_expert_each, usual_solver
from mixtura.dynamics.solvers import Solution
from mixtura.dynamics.trajectories import Trajectories
from mixtura.training.sharing.mixin import Shared

__all__ = ["Reconstruction"]


@configurable
class Reconstruction(Shared, nn.Module):
    """A MixER with a context for each known environment.

    States are scaled to `(x - center) / scale` inside; everything that a user gives or gets is in
    the units of the data.

    Args:
        mixer: the network.
        num_environments: how many environments are known.
        solver: integrates; RK4 with one step per interval when not given (`Iteration` for maps).
        gate: fits the gate in closed form; a `ClosedFormGate` when not given. A gate that the
            task's gradient trains does not use it.
        context_start: zero or small random numbers.
    """

    center: Tensor
    scale: Tensor
    assignment: Tensor

    def __init__(
        self,
        mixer: MixER,
        num_environments: int,
        *,
        solver: nn.Module | None = None,
        gate: ClosedFormGate | None = None,
        context_start: Start = "zero",
    ) -> None:
        super().__init__()
        if num_environments < 1:
            raise InputError(f"at least one environment is needed, got {num_environments}")
        self.mixer = mixer
        self.solver = usual_solver(mixer.experts) if solver is None else solver
        check_solver(self.solver, mixer.experts)
        self.gate = ClosedFormGate() if gate is None else gate
        self.gate.allocate(mixer.num_experts, mixer.experts.context_dim)
        self.contexts = nn.Parameter(
            initial_contexts(num_environments, mixer.experts.context_dim, context_start)
        )
        self.register_buffer("center", torch.zeros(mixer.experts.dim))
        self.register_buffer("scale", torch.ones(mixer.experts.dim))
        self.register_buffer("assignment", torch.full((num_environments,), -1))

    @property
    def num_environments(self) -> int:
        """Known environments."""
        return self.contexts.shape[0]

    @torch.no_grad()
    def standardise(self, data: Trajectories) -> None:
        """Take center and scale from training data."""
        observed = data.observed
        flat = data.x.flatten(0, 2) if observed is None else data.x[observed]
        self.center.copy_(flat.mean(0))
        self.scale.copy_(flat.std(0).clamp_min(1e-8))

    def scaled(self, data: Trajectories) -> Trajectories:
        """Data in the network's units."""
        start = None if data.start is None else (data.start - self.center) / self.scale
        return Trajectories((data.x - self.center) / self.scale, data.t, start, data.lengths)

    def route(self, environments: Int[Tensor, "units"] | None = None) -> Routing:
        """Expert of each known environment: its fixed assignment, else what the gate says."""
        index = slice(None) if environments is None else environments
        return self.mixer.route(self.contexts[index], self.assignment[index])

    def family(self) -> Int[Tensor, "environments"]:
        """Expert of each known environment."""
        with torch.no_grad():
            return self.route().dense_weight.argmax(1)

    def update_gate(
        self,
        expert_losses: Float[Tensor, "environments experts"],
        generator: torch.Generator | None = None,
    ) -> GateFit:
        """One step of the gate's controller.

        Args:
            expert_losses: loss of each known environment with each expert alone.
            generator: draws what is random.
        """
        found = routers(self.mixer)
        costs = {name: ExpertCosts(self.contexts, expert_losses) for name in found}
        fits = self.gate.step(found, costs, generator=generator)
        if not fits:
            return GateFit(False, "the gate is frozen", torch.zeros_like(expert_losses))
        (fit,) = fits.values()
        return fit

    def forward(
        self,
        x0: Float[Tensor, "units trajectories dims"],
        t: Float[Tensor, "*times"],
        *,
        environments: Int[Tensor, "units"] | None = None,
        contexts: Float[Tensor, "units context"] | None = None,
        experts: Int[Tensor, "units"] | None = None,
        solver: nn.Module | None = None,
    ) -> Solution:
        """Trajectories from `x0`, in the units of the data.

        Args:
            x0: initial states, one row of trajectories per unit.
            t: times, shared or per unit.
            environments: which known environment each unit is; all in order when not given.
            contexts: contexts of new environments instead.
            experts: expert of each new environment; the gate decides when not given, and always
                where gradients train it (its probability is part of the output).
            solver: another solver than the model's own.
        """
        if contexts is None:
            index = slice(None) if environments is None else environments
            contexts = self.contexts[index]
            routing = self.route(environments)
        elif experts is None or self.mixer.trained_by_gradient:
            routing = self.mixer.route(contexts)
        else:
            routing = one_expert_each(experts, self.mixer.num_experts)
        solution = self.mixer(
            contexts,
            (x0 - self.center) / self.scale,
            t,
            solver=solver or self.solver,
            routing=routing,
        )
        solution.states = solution.states * self.scale + self.center
        return solution
