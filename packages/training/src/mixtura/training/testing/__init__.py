"""Common checks: what every network, data module and packaged configuration has to do.

A domain package lists its cases in a module `testing`, and the suite finds them there:

    from mixtura.training.testing import NetworkCase

    NETWORKS = [NetworkCase("mine", build=Mine, inputs=random_windows, shape=lambda n: (n, 4))]

The checks are functions of a case, to be used on one's own classes as well:

    @parametrize_with_checks(NETWORKS, network_checks)
    def test_network(case, check):
        check(case)
"""

from mixtura.core.testing import Registry, parametrize_with_checks
from mixtura.training.testing.cases import DATA, NETWORKS, DataCase, NetworkCase
from mixtura.training.testing.data_checks import data_checks, slow_data_checks
from mixtura.training.testing.discovery import Domain, apps, domains, missing
from mixtura.training.testing.network_checks import compiled_network_checks, network_checks

__all__ = [
    "DATA",
    "NETWORKS",
    "DataCase",
    "Domain",
    "NetworkCase",
    "Registry",
    "apps",
    "compiled_network_checks",
    "data_checks",
    "domains",
    "missing",
    "network_checks",
    "parametrize_with_checks",
    "slow_data_checks",
]
