"""The loss of recurrences that are driven by the observations."""

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import InputError, Routing, configurable
from mixtura.dynamics.contexts import PoolStrategy
from mixtura.dynamics.experts import ShPLRNN
from mixtura.dynamics.mixer import MixER
from mixtura.dynamics.solvers import Iteration, Solution
from mixtura.dynamics.training.objective import Objective
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["SequenceObjective"]


@configurable
class SequenceObjective(Objective):
    """Error of recurrent experts whose input at every step is mixed with the observation.

    The input of a step is `alpha z + (1 - alpha) x`: generalised teacher forcing. With
    `next_step` the output at t is compared with the observation at t + 1. The published MixER
    compares it with the observation at t, which lets a model with a small alpha copy its input.

    Hess et al., Generalized Teacher Forcing for Learning Chaotic Dynamics, 2023, arXiv 2306.04406;
    Nzoyem et al., MixER, 2025, arXiv 2502.05335.

    Args:
        alpha: share of the model's own state; what each expert says itself when not given, as
            published.
        alpha_decay: factor on `alpha` in every outer step.
        next_step: whether the next observation is the target instead of the present one.
        order: order of the Taylor expansion in the context.
        pool: expansion points per environment.
        pool_strategy: how they are chosen among the contributing environments.
        context_penalty: on the mean absolute context of an environment.
        reweight: weigh environments by the softmax of their losses instead of equally.
    """

    def __init__(
        self,
        alpha: float | None = None,
        alpha_decay: float = 1.0,
        next_step: bool = True,
        order: int = 0,
        pool: int = 1,
        pool_strategy: PoolStrategy = "NF",
        context_penalty: float = 0.0,
        reweight: bool = False,
    ) -> None:
        super().__init__(None, order, pool, pool_strategy, context_penalty, reweight)
        if alpha is not None and not 0 <= alpha <= 1:
            raise InputError(f"alpha is a share between 0 and 1, got {alpha}")
        self.alpha, self.alpha_decay, self.next_step = alpha, alpha_decay, next_step
        self.outer_step = 0

    def begin(self, outer_step: int) -> None:
        """The share decays from one outer step to the next."""
        self.outer_step = outer_step

    def predict(
        self,
        mixer: MixER,
        contexts: Float[Tensor, "units context"],
        data: Trajectories,
        routing: Routing,
        around: Float[Tensor, "units context"] | None = None,
    ) -> Solution:
        """Outputs of the driven recurrences, each at the time that it is compared with."""
        experts = mixer.experts
        if not isinstance(experts, ShPLRNN):
            raise InputError(
                f"SequenceObjective drives recurrences, got {type(experts).__name__}; "
                "use Objective for vector fields"
            )
        if routing.choices != 1 or routing.may_be_invalid:
            raise InputError("a driven recurrence needs exactly one expert per environment")
        order = 0 if around is None else self.order
        recurrence = experts.settle(routing.expert, contexts, around, order)
        alpha = None if self.alpha is None else self.alpha * self.alpha_decay**self.outer_step
        outputs = recurrence.drive(data.x, alpha)
        outputs = outputs * routing.weight.to(outputs.dtype).view(-1, 1, 1, 1)
        if self.next_step:
            outputs = torch.cat([data.x[:, :, :1], outputs[:, :, :-1]], 2)
        bound = Iteration().bound
        return Iteration().report(outputs.clamp(-bound, bound), data.t)
