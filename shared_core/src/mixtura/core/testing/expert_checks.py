"""What every bank of experts has to do."""

from collections.abc import Callable

import torch

from mixtura.core.configuration import from_config, to_config
from mixtura.core.routing import Routing
from mixtura.core.testing.cases import ExpertsCase

__all__ = ["expert_checks"]

UNITS = 9


def routing_for(units: int, experts: int, k: int, seed: int = 0) -> Routing:
    """A random decision; the last expert gets nothing if there are more than k."""
    generator = torch.Generator().manual_seed(seed)
    reached = max(experts - 1, k)
    index = torch.rand(units, reached, generator=generator).topk(k, -1).indices
    weight = torch.rand(units, k, generator=generator)
    return Routing.from_choices(index, weight, num_experts=experts)


def check_one_by_one(case: ExpertsCase) -> None:
    """Rows in the experts' order give what each expert gives for its own rows."""
    for experts, k, units in ((4, 2, UNITS), (4, 4, UNITS), (1, 1, 3), (4, 1, 1)):
        bank = case.seeded(experts).eval()
        x = case.inputs(units)
        routing = routing_for(units, experts, k)
        rows = bank(routing.gather(x), routing)
        expected = torch.cat(
            [
                bank.one(e, piece)
                for e, piece in enumerate(routing.gather(x).split(routing.counts.tolist()))
                if len(piece)
            ]
        )
        torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-4)


def check_all(case: ExpertsCase) -> None:
    """`all` is every expert for every unit."""
    bank = case.seeded().eval()
    x = case.inputs(UNITS)
    expected = torch.stack([bank.one(e, x) for e in range(4)], 1)
    torch.testing.assert_close(bank.all(x), expected, atol=1e-5, rtol=1e-4)


def check_bind(case: ExpertsCase) -> None:
    """A bound function is the dispatched sum, for other inputs too."""
    bank = case.seeded().eval()
    routing = routing_for(UNITS, 4, 1)
    bound = bank.bind(routing)
    for seed in (1, 2):
        x = case.inputs(UNITS, seed)
        expected = routing.combine(bank(routing.gather(x), routing))
        torch.testing.assert_close(bound(x), expected, atol=1e-5, rtol=1e-4)


def check_empty(case: ExpertsCase) -> None:
    """No rows give no rows."""
    bank = case.seeded().eval()
    routing = routing_for(0, 4, 2)
    assert len(bank(routing.gather(case.inputs(0)), routing)) == 0


def check_idle_expert(case: ExpertsCase) -> None:
    """An expert without rows gets zeros, not a missing or a NaN gradient, where it is stacked."""
    bank = case.seeded().train()
    routing = routing_for(UNITS, 4, 2)
    rows = bank(routing.gather(case.inputs(UNITS)), routing)
    rows.square().sum().backward()
    for parameter in bank.parameters():
        if bank.stacked and parameter.requires_grad:
            assert parameter.grad is not None
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def check_configuration(case: ExpertsCase) -> None:
    """The configuration builds an equal bank."""
    bank = case.seeded().eval()
    config = to_config(bank)
    built = from_config(config)
    assert to_config(built) == config
    built.load_state_dict(bank.state_dict())
    x = case.inputs(UNITS)
    torch.testing.assert_close(built.eval().all(x), bank.all(x))


expert_checks: list[Callable[[ExpertsCase], None]] = [
    check_one_by_one,
    check_all,
    check_bind,
    check_empty,
    check_idle_expert,
    check_configuration,
]
