"""Mixtures of distributions that are not all of one family, and what their parameters are."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, LogNormal, Normal, StudentT, constraints
from torch.nn import functional as F

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.sized_linear import SizedLinear

__all__ = ["MixtureDistribution", "MixtureHead", "NegativeBinomial", "draw"]

PARAMETERS = {
    "student_t": ("df", "loc", "scale"),
    "normal": ("loc", "scale"),
    "normal_fixed_scale": ("loc",),
    "negative_binomial": ("total_count", "logits"),
    "log_normal": ("loc", "scale"),
}


class NegativeBinomial(Distribution):
    """A Poisson variable of Gamma-distributed rate; its density is continued between integers."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support: Any = constraints.nonnegative

    def __init__(self, total_count: Tensor, logits: Tensor) -> None:
        self.total_count, self.logits = total_count, logits
        super().__init__(logits.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """`total_count * exp(logits)`."""
        return self.total_count * self.logits.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, for every value that is not negative."""
        count = self.total_count
        density = count * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        ways = torch.lgamma(count + value) - torch.lgamma(1 + value) - torch.lgamma(count)
        return density + ways


class MixtureDistribution:
    """`sum_j w_j p_j((y - loc) / scale) / scale`.

    Attributes:
        weights_logits: of the weights, components last.
        components: the distributions in scaled space.
        loc: added to what was scaled.
        scale: what scaled values are multiplied by.
    """

    def __init__(
        self,
        weights_logits: Float[Tensor, "*shape components"],
        components: Sequence[Distribution],
        loc: Tensor,
        scale: Tensor,
    ) -> None:
        self.weights_logits, self.components = weights_logits, list(components)
        self.loc, self.scale = loc, scale

    @property
    def mean(self) -> Float[Tensor, "*shape"]:
        """Expected values in the units of the data."""
        means = torch.stack([component.mean for component in self.components], -1)
        return (self.weights_logits.softmax(-1) * means).sum(-1) * self.scale + self.loc

    def log_prob(self, value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Log density; a component does not count where a value is outside its support."""
        scaled = (value - self.loc) / self.scale
        densities = []
        for component in self.components:
            support: Any = component.support
            inside = support.check(scaled)
            harmless = torch.where(inside, scaled, torch.ones_like(scaled))
            density = component.log_prob(harmless)
            densities.append(torch.where(inside, density, -torch.inf))
        weights = self.weights_logits.log_softmax(-1)
        return (weights + torch.stack(densities, -1)).logsumexp(-1) - self.scale.log()

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "count *shape"]:
        """Independent draws from every distribution."""
        shape = (count, *self.weights_logits.shape[:-1])
        draws = [draw(component, shape, generator) for component in self.components]
        weights = self.weights_logits.softmax(-1).flatten(0, -2)
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        chosen = chosen.T.reshape(shape).unsqueeze(-1)
        drawn = torch.stack(draws, -1).gather(-1, chosen).squeeze(-1)
        return drawn * self.scale + self.loc


class MixtureHead(nn.Module):
    """From tokens to the parameters of a mixture for each value of a patch.

    Args:
        dim: width of a token.
        sizes: patch widths.
        components: names: student_t, normal, normal_fixed_scale(0.001), negative_binomial,
            log_normal.
    """

    def __init__(self, dim: int, sizes: Sequence[int], components: Sequence[str]) -> None:
        super().__init__()
        parsed = [_parse(name) for name in components]
        self.names = [name for name, _ in parsed]
        self.fixed_scales = [scale for _, scale in parsed]
        self.width = max(sizes)
        self.weights_logits = SizedLinear(sizes, dim, None, len(parsed))
        self.components = nn.ModuleList(
            nn.ModuleDict({key: SizedLinear(sizes, dim, None) for key in PARAMETERS[name]})
            for name in self.names
        )

    def parameters_of(
        self, x: Float[Tensor, "batch tokens dim"], size: Any
    ) -> tuple[Float[Tensor, "batch tokens patch components"], list[dict[str, Tensor]]]:
        """Logits of the weights, and each component's parameters in scaled space."""
        weights = self.weights_logits(x, size).unflatten(-1, (-1, self.width)).mT
        return weights, [
            {key: _domain(key, linear(x, size)) for key, linear in component.items()}
            for component in self._dicts()
        ]

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], size: Any, loc: Tensor, scale: Tensor
    ) -> MixtureDistribution:
        """The distribution of every value."""
        return self.distribution(*self.parameters_of(x, size), loc, scale)

    def distribution(
        self,
        weights: Tensor,
        parameters: Sequence[Mapping[str, Tensor]],
        loc: Tensor,
        scale: Tensor,
    ) -> MixtureDistribution:
        """The mixture of `parameters_of`, shifted by `loc` and stretched by `scale`."""
        kinds = zip(self.names, self.fixed_scales, parameters, strict=True)
        return MixtureDistribution(weights, [_build(*kind) for kind in kinds], loc, scale)

    def _dicts(self) -> list[Mapping[str, Any]]:
        return [dict(component.items()) for component in self.components]  # pyright: ignore


def _parse(name: str) -> tuple[str, float]:
    match = re.fullmatch(r"([a-z_]+)(?:\(([0-9.eE+-]+)\))?", name)
    if match is None or match[1] not in PARAMETERS:
        raise InputError(
            f"a component must be one of {', '.join(PARAMETERS)}, got {name!r}; the scale of "
            "normal_fixed_scale stands behind it in brackets"
        )
    return match[1], float(match[2] or 1e-3)


def _domain(key: str, raw: Tensor) -> Tensor:
    if key == "df":
        return 2 + F.softplus(raw)
    if key == "scale":
        return F.softplus(raw).clamp_min(torch.finfo(raw.dtype).eps)
    return F.softplus(raw) if key == "total_count" else raw


def _build(name: str, fixed_scale: float, parameters: Mapping[str, Tensor]) -> Distribution:
    if name == "student_t":
        return StudentT(**parameters, validate_args=False)
    if name == "negative_binomial":
        return NegativeBinomial(**parameters)
    if name == "log_normal":
        return LogNormal(**parameters, validate_args=False)
    scale = parameters.get("scale", torch.full_like(parameters["loc"], fixed_scale))
    return Normal(parameters["loc"], scale, validate_args=False)


def draw(component: Any, shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Draws of a component; torch's own `sample` methods take no generator."""

    def gamma(concentration: Tensor) -> Tensor:
        return torch._standard_gamma(concentration.expand(shape), generator=generator)

    if isinstance(component, NegativeBinomial):
        rate = gamma(component.total_count) * component.logits.exp()
        return torch.poisson(rate, generator=generator)
    loc = component.loc
    normal = torch.randn(shape, generator=generator, device=loc.device, dtype=loc.dtype)
    if isinstance(component, StudentT):
        normal = normal * torch.rsqrt(2 * gamma(component.df / 2) / component.df)
        return loc + component.scale * normal
    drawn = component.loc + component.scale * normal
    return drawn.exp() if isinstance(component, LogNormal) else drawn
