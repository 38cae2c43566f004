"""What every loss has to do."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mixtura.core.configuration import from_config, to_config
from mixtura.core.experts import MLPExperts
from mixtura.core.layer import MoELayer
from mixtura.core.record import record_routing
from mixtura.core.testing.cases import DIM, LossCase

__all__ = ["loss_and_gradients", "loss_checks"]

UNITS = 12


def loss_and_gradients(
    case: LossCase,
    x: Tensor,
    *,
    experts: int = 4,
    k: int = 2,
    mask: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The recorded term of a small layer in training, and what its parameters get from it."""
    torch.manual_seed(0)
    layer = MoELayer(
        case.router(experts, k), MLPExperts(experts, DIM, 6), losses=[case.build(experts, k)]
    )
    layer = layer.to(x.dtype).train()
    torch.manual_seed(1)
    with record_routing(layer) as record:
        layer(x, mask=mask, **case.context(len(x)))
    (term,) = record.losses().values()
    if term.requires_grad:
        term.backward()
    return term, [p.grad for p in layer.parameters() if p.grad is not None]


def inputs(units: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Inputs that are always the same."""
    x = torch.randn(units, DIM, generator=torch.Generator().manual_seed(2))
    return (scale * x).to(dtype)


def check_scalar(case: LossCase) -> None:
    """A number in float32 whatever the layer's precision, at least."""
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        term, _ = loss_and_gradients(case, inputs(UNITS, dtype=dtype))
        assert term.shape == ()
        assert term.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def check_finite(case: LossCase) -> None:
    """Equal, large and no units, one choice and all of them: no NaN, forward or backward."""
    for units, scale, experts, k in (
        (UNITS, 0.0, 4, 2),
        (UNITS, 1e4, 4, 2),
        (UNITS, 1.0, 4, 1),
        (UNITS, 1.0, 3, 3),
        (2, 1.0, 2, 1),
        (0, 1.0, 4, 2),
    ):
        term, gradients = loss_and_gradients(case, inputs(units, scale), experts=experts, k=k)
        assert torch.isfinite(term), (units, scale, experts, k)
        assert all(torch.isfinite(g).all() for g in gradients), (units, scale, experts, k)


def check_padding(case: LossCase) -> None:
    """What padding holds makes no difference; nothing but padding gives no NaN."""
    mask = torch.arange(UNITS) % 4 > 0
    x = inputs(UNITS)
    term, gradients = loss_and_gradients(case, x, mask=mask)
    garbage, others = loss_and_gradients(case, torch.where(mask[:, None], x, 7.0), mask=mask)
    torch.testing.assert_close(garbage, term)
    torch.testing.assert_close(others, gradients)
    nobody, gradients = loss_and_gradients(case, x, mask=torch.zeros_like(mask))
    assert torch.isfinite(nobody)
    assert all(torch.isfinite(g).all() for g in gradients)


def check_gradient(case: LossCase) -> None:
    """It presses on something."""
    _, gradients = loss_and_gradients(case, inputs(UNITS))
    assert any(g.abs().sum() > 0 for g in gradients)


def check_weight(case: LossCase) -> None:
    """The term is the weight times the loss, and nothing at all for a weight of zero."""
    config = to_config(case.build(4, 2))
    weights = (config["init_args"]["weight"], 0.0)
    terms = []
    for weight in weights:
        changed = {**config, "init_args": {**config["init_args"], "weight": weight}}
        same = replace(case, build=lambda e, k, tree=changed: from_config(tree))
        terms.append(loss_and_gradients(same, inputs(UNITS))[0])
    assert terms[0] != 0
    assert terms[1] == 0


def check_configuration(case: LossCase) -> None:
    """The configuration builds an equal loss."""
    config = to_config(case.build(4, 2))
    assert to_config(from_config(config)) == config


loss_checks: list[Callable[[LossCase], None]] = [
    check_scalar,
    check_finite,
    check_padding,
    check_gradient,
    check_weight,
    check_configuration,
]
