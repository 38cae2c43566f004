"""DynaMix: zero-shot reconstruction, a dense mixture of recurrent experts gated in context."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import InputError, Routing, combine, configurable
from mixtura.core.experts import Experts
from mixtura.dynamics.embeddings import Embedding, delay_embedding, straight_trend

__all__ = ["DynaMix", "InContextGate", "RecurrentExperts"]


@configurable
class RecurrentExperts(Experts):
    """Piecewise-linear recurrences with stacked weights.

    `almost_linear`: `a z + W phi(z) + h`, phi the identity but for a relu on the last `pwl_units`;
    `clipped_shallow`: `a z + W1 (relu(W2 z + h2) - relu(W2 z)) + h1`.

    Reference: Brenner et al., Almost-Linear RNNs Yield Highly Interpretable Symbolic Codes in
    Dynamical Systems Reconstruction, 2024, arXiv 2410.14240.

    Args:
        num_experts: J.
        latent_dim: M.
        pwl_units: piecewise-linear units of an almost linear expert.
        hidden_dim: width of a clipped shallow expert.
        kind: one of the two.
    """

    def __init__(
        self,
        num_experts: int = 10,
        latent_dim: int = 30,
        pwl_units: int = 2,
        hidden_dim: int = 50,
        kind: Literal["almost_linear", "clipped_shallow"] = "almost_linear",
    ) -> None:
        super().__init__()
        if not 0 <= pwl_units <= latent_dim:
            raise InputError(
                f"pwl_units must be between 0 and latent_dim ({latent_dim}), got {pwl_units}"
            )
        self.num_experts, self.latent_dim, self.kind = num_experts, latent_dim, kind
        self.pwl_units = pwl_units
        j, m = num_experts, latent_dim
        self.a = nn.Parameter(torch.stack([stable_diagonal(m) for _ in range(j)]))
        if kind == "almost_linear":
            self.w = nn.Parameter(0.01 * torch.randn(j, m, m))
            self.h = nn.Parameter(torch.zeros(j, m))
        elif kind == "clipped_shallow":
            self.w1 = nn.Parameter(0.01 * torch.randn(j, m, hidden_dim))
            self.w2 = nn.Parameter(0.01 * torch.randn(j, hidden_dim, m))
            self.h1 = nn.Parameter(torch.zeros(j, m))
            self.h2 = nn.Parameter(torch.zeros(j, hidden_dim))
        else:
            raise InputError(f"kind must be almost_linear or clipped_shallow, got {kind!r}")

    def all(self, x: Float[Tensor, "units latent"]) -> Float[Tensor, "units experts latent"]:
        """Next latent state by every expert."""
        linear = self.a * x[:, None]
        if self.kind == "almost_linear":
            split = self.latent_dim - self.pwl_units
            phi = torch.cat([x[:, :split], torch.relu(x[:, split:])], 1)
            return linear + torch.einsum("jmn,un->ujm", self.w, phi) + self.h
        hidden = torch.einsum("jlm,um->ujl", self.w2, x)
        clipped = torch.relu(hidden + self.h2) - torch.relu(hidden)
        return linear + torch.einsum("jml,ujl->ujm", self.w1, clipped) + self.h1

    def one(self, expert: int, rows: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows latent"]:
        """Next latent state by one expert."""
        return self.all(rows)[:, expert]


@configurable
class InContextGate(nn.Module):
    """Weights of the experts from the state and an observed context.

    The state is compared with each frame of the context (L1, softmax over time), the frames'
    convolutional features are averaged with this attention, and a perceptron on (features, state)
    gives the logits.

    Args:
        num_experts: J.
        latent_dim: M.
        obs_dim: N, observed dimensions.
        noise: initial standard deviation of the exploration noise on the compared state, which
            acts in evaluation too.
    """

    def __init__(
        self, num_experts: int, latent_dim: int, obs_dim: int, noise: float = 0.05
    ) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.project = nn.Parameter(torch.eye(obs_dim, latent_dim))
        self.sigma = nn.Parameter(torch.full((obs_dim,), noise))
        self.temperature_attention = nn.Parameter(torch.tensor([0.1]))
        self.temperature_experts = nn.Parameter(torch.tensor([0.1]))
        self.conv = nn.Conv1d(obs_dim, obs_dim, 2)
        self.hidden = nn.Linear(obs_dim + latent_dim, num_experts)
        self.out = nn.Linear(num_experts, num_experts)
        for layer in (self.hidden, self.out):
            nn.init.zeros_(layer.bias)
            layer.bias.requires_grad_(False)

    def features(
        self, context: Float[Tensor, "frames units obs"]
    ) -> Float[Tensor, "pairs units obs"]:
        """Convolutional features of neighbouring frames; computed once per context."""
        return self.conv(context.permute(1, 2, 0)).permute(2, 0, 1)

    def forward(
        self,
        z: Float[Tensor, "units latent"],
        context: Float[Tensor, "frames units obs"],
        features: Float[Tensor, "pairs units obs"],
        generator: torch.Generator | None = None,
    ) -> Routing:
        """A dense routing: each unit to all experts, weighted."""
        seen = z.detach() @ self.project.T
        noise = torch.randn(seen.shape, generator=generator).to(seen)
        seen = seen + self.sigma * noise
        distance = (context[:-1] - seen).abs().sum(-1)
        attention = torch.softmax(-distance / self.temperature_attention.abs(), 0)
        embedded = (attention[..., None] * features).sum(0)
        hidden = torch.relu(self.hidden(torch.cat([embedded, z], 1)))
        logits = -self.out(hidden) / self.temperature_experts.abs()
        weight = torch.softmax(logits, 1)
        index = torch.arange(self.num_experts, device=z.device).expand(len(z), -1)
        return Routing.from_choices(
            index, weight, num_experts=self.num_experts, logits=logits, scores=weight
        )


@configurable
class DynaMix(nn.Module):
    """A mixture of recurrences that forecasts a system it has never seen from a context.

    Reference: Hemmer and Durstewitz, True Zero-Shot Inference of Dynamical Systems Preserving
    Long-Term Statistics, 2025, arXiv 2505.13192.

    Args:
        obs_dim: N, observed dimensions.
        experts: the recurrences.
        gate: weighs them.
    """

    def __init__(
        self,
        obs_dim: int = 3,
        experts: RecurrentExperts | None = None,
        gate: InContextGate | None = None,
    ) -> None:
        super().__init__()
        self.experts = RecurrentExperts() if experts is None else experts
        m = self.experts.latent_dim
        if obs_dim > m:
            raise InputError(f"obs_dim ({obs_dim}) must not exceed latent_dim ({m})")
        self.obs_dim = obs_dim
        self.gate = InContextGate(self.experts.num_experts, m, obs_dim) if gate is None else gate
        self.lift = nn.Parameter(torch.empty(obs_dim, m).uniform_(-(m**-0.5), m**-0.5))

    def initial_state(self, x0: Float[Tensor, "units obs"]) -> Float[Tensor, "units latent"]:
        """Latent state whose first entries are the observation."""
        return torch.cat([x0, (x0 @ self.lift)[:, self.obs_dim :]], 1)

    def next_state(
        self, z: Tensor, context: Tensor, features: Tensor, generator: torch.Generator | None = None
    ) -> Float[Tensor, "units latent"]:
        """One step of the mixture."""
        routing = self.gate(z, context, features, generator)
        return combine(self.experts.all(z), routing)

    def forward(
        self,
        context: Float[Tensor, "frames units obs"],
        z0: Float[Tensor, "units latent"],
        steps: int,
        *,
        teacher: Float[Tensor, "times units obs"] | None = None,
        alpha: float = 1.0,
        interleave: int = 10,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "steps units latent"]:
        """Latent states after 1 to `steps` steps.

        Args:
            context: observed frames.
            z0: state before the first step.
            steps: how many.
            teacher: observations to be forced towards (generalised teacher forcing).
            alpha: strength of the forcing.
            interleave: forced before every so many steps.
            generator: draws the gate's noise.
        """
        features = self.gate.features(context)
        z, states = z0, []
        for step in range(steps):
            if teacher is not None and step > 0 and step % interleave == 0:
                mixed = alpha * teacher[step] + (1 - alpha) * z[:, : self.obs_dim]
                z = torch.cat([mixed, z[:, self.obs_dim :]], 1)
            z = self.next_state(z, context, features, generator)
            states.append(z)
        return torch.stack(states)

    def loss(
        self,
        context: Float[Tensor, "frames units obs"],
        x: Float[Tensor, "times units obs"],
        *,
        alpha: float = 1.0,
        interleave: int = 10,
        noise_penalty: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Squared error of interleaved teacher forcing, and a term that keeps the gate's noise up.

        State t + 1 is compared with observation t + 1; the sequence starts from the first one.
        """
        z0 = self.initial_state(x[0])
        states = self.forward(
            context,
            z0,
            len(x) - 1,
            teacher=x,
            alpha=alpha,
            interleave=interleave,
            generator=generator,
        )
        error = F.mse_loss(states[..., : self.obs_dim], x[1:])
        return error + noise_penalty * torch.exp(-self.gate.sigma.abs() / 0.01).mean()

    @torch.no_grad()
    def forecast(
        self,
        context: Float[Tensor, "frames units obs"],
        steps: int,
        generator: torch.Generator | None = None,
        *,
        embedding: Embedding = delay_embedding,
        detrend: bool = False,
    ) -> Float[Tensor, "steps units obs"]:
        """What follows the context, in the units of the data.

        Args:
            context: the series so far.
            steps: frames to continue it by.
            generator: draws the gate's noise.
            embedding: how a series of fewer dimensions than the model's gets the others; also
                `positional_embedding` and `zero_embedding`.
            detrend: take a straight line out of the context first and continue it beside.
        """
        if detrend:
            line, further = straight_trend(context, steps)
            return further + self.forecast(context - line, steps, generator, embedding=embedding)
        given = context.shape[-1]
        mean, deviation = context.mean(0), context.std(0).clamp_min(1e-6)
        standard = embedding((context - mean) / deviation, self.obs_dim)
        z0 = self.initial_state(standard[-1])
        states = self.forward(standard, z0, steps, generator=generator)[..., :given]
        return states * deviation + mean


def stable_diagonal(size: int) -> Float[Tensor, "size"]:
    """Diagonal of a random positive definite matrix scaled to a largest eigenvalue of one."""
    r = torch.randn(size, size)
    k = r.T @ r / size + torch.eye(size)
    return torch.diagonal(k / torch.linalg.eigvalsh(k)[-1]).clone()
