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
    ROUTERS,
    ExpertsCase,
    Registry,
    RouterCase,
    parametrize_with_checks,
)
from mixtura.core.testing.expert_checks import expert_checks
from mixtura.core.testing.layer_checks import layer_checks
from mixtura.core.testing.own_experts import OWN_EXPERTS
from mixtura.core.testing.own_routers import OWN_ROUTERS
from mixtura.core.testing.router_checks import router_checks

for _case in OWN_ROUTERS:
    ROUTERS.add(_case)
for _bank in OWN_EXPERTS:
    EXPERTS.add(_bank)

__all__ = [
    "EXPERTS",
    "ROUTERS",
    "ExpertsCase",
    "Registry",
    "RouterCase",
    "expert_checks",
    "layer_checks",
    "parametrize_with_checks",
    "router_checks",
]
