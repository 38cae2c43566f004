"""Adaptive Tsit5 where every trajectory has its own step size."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import InputError, configurable
from mixtura.dynamics.solvers.solution import Field, Solution, Status, check_problem
from mixtura.dynamics.solvers.tableau import TSIT5_TABLEAU, tsit5_interpolant

__all__ = ["AdaptiveTsit5"]

ORDER = 5
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0


@configurable
class AdaptiveTsit5(nn.Module):
    """Tsit5(4) with a step size of its own for each trajectory, and dense output.

    Trajectories advance together but do not influence each other: what one gives does not depend on
    its companions. Gradients go through the accepted steps (discretise, then optimise); step sizes
    are constants. Nothing is raised when a trajectory fails: its status says so, and its last good
    state is repeated.

    Tsitouras, 2011 (Computers and Mathematics with Applications 62).

    Args:
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: attempted steps after which a trajectory gives up.
        first_step: size of the first step; the first output interval when not given.
        bound: largest absolute state.
    """

    def __init__(
        self,
        rtol: float = 1e-3,
        atol: float = 1e-6,
        max_steps: int = 4096,
        first_step: float | None = None,
        bound: float = 1e6,
    ) -> None:
        super().__init__()
        if rtol <= 0 or atol <= 0:
            raise InputError(f"tolerances must be positive, got rtol {rtol} and atol {atol}")
        self.rtol, self.atol = rtol, atol
        self.max_steps, self.first_step, self.bound = max_steps, first_step, bound

    def forward(
        self,
        field: Field,
        x0: Float[Tensor, "units trajectories dims"],
        t: Float[Tensor, "*times"],
    ) -> Solution:
        """Integrate from `x0`; see `FixedStep.forward`."""
        times = check_problem(x0, t).to(x0.dtype)
        units, trajectories, _ = x0.shape
        outputs = times[:, None, :].expand(-1, trajectories, -1)
        end = outputs[..., -1]
        now = outputs[..., 0].clone()
        h = (
            (outputs[..., 1] - now)
            if self.first_step is None
            else torch.full_like(now, self.first_step)
        )
        x, slope = x0, field(now[..., None], x0)
        states = x0[:, :, None].expand(-1, -1, times.shape[1], -1)
        status = torch.full((units, trajectories), int(Status.OK), device=x0.device)
        accepted_steps = torch.zeros_like(status)
        running = now < end
        attempts = 0
        while attempts < self.max_steps and bool(running.any()):
            attempts += 1
            last = now + h >= end
            h = torch.where(last, end - now, h).where(running, 1.0)
            stages, candidate, error = self.attempt(field, now, x, slope, h)
            with torch.no_grad():
                scale = self.atol + self.rtol * torch.maximum(x.abs(), candidate.abs())
                ratio = (error / scale).square().mean(-1).sqrt()
                finite = candidate.isfinite().all(-1) & ratio.isfinite()
                ratio = ratio.where(finite, torch.inf)
                accept = running & (ratio <= 1)
                factor = (SAFETY * ratio.clamp_min(1e-10) ** (-1 / ORDER)).clamp(SHRINK, GROW)
                following = torch.where(last, end, now + h)
                inside = accept[..., None] & (outputs > now[..., None])
                inside &= outputs <= following[..., None]
                theta = (outputs - now[..., None]) / h[..., None]
            if bool(inside.any()):
                weights = tsit5_interpolant(theta.clamp(0, 1))
                dense = x[:, :, None] + h[..., None, None] * torch.einsum(
                    "unts,suni->unti", weights, torch.stack(stages)
                )
                states = torch.where(inside[..., None], dense, states)
            x = torch.where(accept[..., None], candidate, x)
            slope = torch.where(accept[..., None], stages[-1], slope)
            with torch.no_grad():
                now = torch.where(accept, following, now)
                h = torch.where(running, h * factor, h)
                exploded = accept & (x.abs() >= self.bound).any(-1)
                stuck = running & (now + h == now) & (now < end)
                status = status.masked_fill(exploded | stuck, int(Status.NOT_FINITE))
                accepted_steps = accepted_steps + accept
                running = running & (now < end) & (status == Status.OK)
        status = status.masked_fill(running, int(Status.MAX_STEPS))
        failed = (status != Status.OK)[..., None] & (outputs > now[..., None])
        states = torch.where(failed[..., None], x[:, :, None], states)
        return Solution(states, status, now, accepted_steps)

    def attempt(
        self, field: Field, t: Tensor, x: Tensor, slope: Tensor, h: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """The seven stages, the fifth-order state and the error estimate of one step."""
        size = h[..., None]
        stages, point = [slope], x
        for node, row in zip(TSIT5_TABLEAU.nodes[1:], TSIT5_TABLEAU.matrix[1:], strict=True):
            point = x
            for weight, stage in zip(row, stages, strict=True):
                point = torch.addcmul(point, size, stage, value=weight)
            stages.append(field((t + node * h)[..., None], point))
        # the last stage is taken at the new state itself (first same as last)
        with torch.no_grad():
            error = sum(
                weight * stage for weight, stage in zip(TSIT5_TABLEAU.error, stages, strict=True)
            )
        return stages, point, size * error
