"""A density model of the router's inputs: every expert owns a part of it."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.precise import PreciseBuffers
from mixtura.core.replay import replayed
from mixtura.core.scores.base import Score
from mixtura.core.scores.kmeans import LARGEST, find_centroids
from mixtura.core.scores.precise_linear import precise_linear

__all__ = ["MixtureModelScore"]


@configurable
class MixtureModelScore(PreciseBuffers, Score):
    """`z_e = log sum_m pi_em N(q; mu_em, Sigma_em)`; softmax(z) is the posterior of the expert.

    An autoencoder maps the unit to a standardised latent `q`, on which a Gaussian mixture with M
    components per expert is fitted by `MixtureFit`. Neither the task's gradient reaches the mixture
    nor the mixture's the task: the input and the logits are detached. Give its parameters
    (`parameters()`) an optimiser group of their own. Balance follows from the fit.

    The means start at the k-means centroids of the first training calls. A component whose running
    responsibility falls below 1e-4 of the mean is put on the unit that is explained worst, among
    its expert's own unless the whole expert has died out.

    Input-Domain-Aware MoE (arXiv 2510.16448), whose code is not public.

    Args:
        dim: width of what the router looks at.
        num_experts: E.
        latent_dim: width of q.
        components: M, per expert.
        hidden_dim: of a GELU layer inside the encoder and decoder; linear maps when not given.
        route_grad: "none" detaches the logits; "straight" lets the task's gradient reach the
            mixture, and with `detach_latent=False` the encoder, through the combine weights.
        detach_latent: whether the encoder learns from the reconstruction alone. Learning from the
            likelihood too, it gains by laying clusters upon each other.
        warmup: training calls during which the mixture is placed anew, more and more rarely, while
            the encoder finds its shape.
    """

    log_variance_bound = 8.0
    responsibility: Tensor
    calls: Tensor

    def __init__(
        self,
        dim: int,
        num_experts: int,
        *,
        latent_dim: int = 16,
        components: int = 16,
        hidden_dim: int | None = None,
        detach_latent: bool = True,
        warmup: int = 100,
        route_grad: Literal["none", "straight"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts, latent_dim=latent_dim, components=components)
        check_sizes(hidden_dim=hidden_dim)
        check_number("warmup", warmup, least=0)
        self.dim = dim
        self.num_experts = num_experts
        self.components = components
        check_option("route_grad", route_grad, ("none", "straight"))
        self.route_grad = route_grad
        self.detach_latent = detach_latent
        self.warmup = warmup
        self.noisy = True
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.encoder = _map(dim, latent_dim, hidden_dim)
        self.decoder = _map(latent_dim, dim, hidden_dim)
        self.standardize = Standardize(latent_dim, affine=False)
        count = num_experts * components
        self.mean = nn.Parameter(torch.randn(count, latent_dim))
        self.log_variance = nn.Parameter(torch.zeros(count, latent_dim))
        self.log_share = nn.Parameter(torch.zeros(count))
        self.register_buffer("responsibility", torch.full((count,), 1.0 / count))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Detached logits; the fit's terms per unit as `nll` and `reconstruction`."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(self.mean.dtype, torch.float32)
            target = self.norm(x.detach().to(precise).clamp(-LARGEST, LARGEST))
            q = _mapped(self.encoder, target)
            learning = self.training and self.noisy
            reconstruction = (_mapped(self.decoder, q) - target).square().mean(-1)
            q = self._standardized(q.detach() if self.detach_latent else q, learning)
            if learning and replayed(x) is False and len(x):
                self._place(q.detach())
                self._revive(q.detach())
            joint = self._log_joint(q)
            nll = -joint.logsumexp(-1)
            logits = joint.unflatten(-1, (self.num_experts, self.components)).logsumexp(-1)
        logits = logits.detach() if self.route_grad == "none" else logits
        return logits, {"nll": nll, "reconstruction": reconstruction}

    def _standardized(self, q: Tensor, learning: bool) -> Tensor:
        if learning and len(q) > 1:
            return self.standardize(q)
        norm = self.standardize
        return F.batch_norm(q, norm.running_mean, norm.running_var, eps=norm.eps)

    def _log_joint(self, q: Tensor) -> Float[Tensor, "units components"]:
        bound = self.log_variance_bound
        # Copies: components may be moved by another call before backward runs.
        mean = self.mean.to(q.dtype, copy=True)
        log_variance = self.log_variance.to(q.dtype, copy=True).clamp(-bound, bound)
        precision = (-log_variance).exp()
        squared = (
            q.square() @ precision.T
            - 2 * q @ (precision * mean).T
            + (precision * mean.square()).sum(-1)
        ).clamp_min(0.0)
        constant = log_variance.sum(-1) + q.shape[-1] * math.log(2 * math.pi)
        return self.log_share.to(q.dtype).log_softmax(-1) - 0.5 * (squared + constant)

    @torch.no_grad()
    def _place(self, q: Tensor) -> None:
        call = int(self.calls)
        if len(q) < self.num_experts or call > self.warmup:
            return
        self.calls += 1
        if call & (call + 1) and call != self.warmup:  # 0, 1, 3, 7, ... and the last one
            return
        centroids = find_centroids(q.float(), self.num_experts)
        distance = torch.cdist(q.float(), centroids).amin(-1)
        spread = (distance.square().mean() / q.shape[-1]).clamp_min(1e-3)
        means = centroids.repeat_interleave(self.components, 0)
        noise = 0.5 * spread.sqrt() * torch.randn_like(self.mean)
        self.mean.copy_(means.to(self.mean.dtype) + noise)
        self.log_variance.fill_(float(spread.log()))
        self.log_share.zero_()
        self.responsibility.fill_(1 / len(self.responsibility))

    @torch.no_grad()
    def _revive(self, q: Tensor) -> None:
        joint = self._log_joint(q)
        nll = -joint.logsumexp(-1)
        now = joint.softmax(-1).mean(0).to(self.responsibility.dtype)
        self.responsibility.lerp_(now, 0.01)
        bound = 1e-4 * self.responsibility.mean()
        dead = (self.responsibility < bound).nonzero().squeeze(1)
        if len(dead) == 0:
            return
        owner = joint.unflatten(-1, (self.num_experts, -1)).logsumexp(-1).argmax(-1)
        alive = self.responsibility.view(self.num_experts, -1).sum(-1) >= bound
        for component in dead.tolist():
            expert = component // self.components
            mine = owner == expert if alive[expert] else torch.ones_like(owner, dtype=torch.bool)
            if mine.any():
                worst = nll.masked_fill(~mine, -float("inf")).argmax()
                self.mean[component] = q[worst].to(self.mean.dtype)
                self.log_variance[component] = 0.0
                self.responsibility[component] = self.responsibility.mean()
                nll[worst] = -float("inf")


class Standardize(nn.BatchNorm1d):
    """Standardisation of the latent, whose running statistics are never in half precision."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Standardize":
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, new in self._buffers.items():
            old = before[name]
            if old is not None and new is not None and new.dtype in (torch.half, torch.bfloat16):
                self._buffers[name] = old.to(new.device)
        return self


def _mapped(layers: nn.Module, x: Tensor) -> Tensor:
    for layer in layers if isinstance(layers, nn.Sequential) else [layers]:
        linear = isinstance(layer, nn.Linear)
        x = precise_linear(x, layer.weight, layer.bias) if linear else layer(x)
    return x


def _map(inputs: int, outputs: int, hidden: int | None) -> nn.Module:
    if hidden is None:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
