"""Common checks: what every router, bank of experts and layer has to do, run on every one.

    from mixtura.core.testing import ROUTERS, RouterCase, parametrize_with_checks, router_checks

    ROUTERS.add(RouterCase("mine", build_mine))

    @parametrize_with_checks(ROUTERS, router_checks)
    def test_router(case, check):
        check(case)

A case that is registered is checked; the core's own are there already.
"""

from mixtura.core.testing.cases import (
    EXPERTS,
    LOSSES,
    ROUTERS,
    ExpertsCase,
    LossCase,
    Registry,
    RouterCase,
    parametrize_with_checks,
)
from mixtura.core.testing.expert_checks import expert_checks
from mixtura.core.testing.layer_checks import layer_checks
from mixtura.core.testing.loss_checks import loss_and_gradients, loss_checks
from mixtura.core.testing.own_experts import OWN_EXPERTS
from mixtura.core.testing.own_losses import OWN_LOSSES
from mixtura.core.testing.own_routers import OWN_ROUTERS
from mixtura.core.testing.router_checks import router_checks

for _case in OWN_ROUTERS:
    ROUTERS.add(_case)
for _bank in OWN_EXPERTS:
    EXPERTS.add(_bank)
for _loss in OWN_LOSSES:
    LOSSES.add(_loss)

__all__ = [
    "EXPERTS",
    "LOSSES",
    "ROUTERS",
    "ExpertsCase",
    "LossCase",
    "Registry",
    "RouterCase",
    "expert_checks",
    "layer_checks",
    "loss_and_gradients",
    "loss_checks",
    "parametrize_with_checks",
    "router_checks",
]
