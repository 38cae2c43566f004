"""Every network and data module of every installed package passes the common checks."""

import pytest

from mixtura.core.errors import InputError
from mixtura.training.testing import (
    DATA,
    NETWORKS,
    NetworkCase,
    compiled_network_checks,
    data_checks,
    domains,
    missing,
    network_checks,
    parametrize_with_checks,
    slow_data_checks,
)

DOMAINS = domains()


@parametrize_with_checks(NETWORKS, network_checks)
def test_network(case, check) -> None:
    check(case)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo's
@pytest.mark.slow
@pytest.mark.compile
@parametrize_with_checks(NETWORKS, compiled_network_checks)
def test_compiled_network(case, check) -> None:
    check(case)


@parametrize_with_checks(DATA, data_checks)
def test_data(case, check) -> None:
    check(case)


@pytest.mark.slow
@parametrize_with_checks(DATA, slow_data_checks)
def test_data_slowly(case, check) -> None:
    check(case)


def test_every_public_network_and_data_module_is_checked() -> None:
    assert missing(DOMAINS) == {}


def test_excuses_name_checks_and_classes_that_exist() -> None:
    names = {check.__name__.removeprefix("check_") for check in network_checks}
    names |= {check.__name__.removeprefix("check_") for check in compiled_network_checks}
    for case in NETWORKS:
        assert set(case.excused) <= names, case.name
    names = {c.__name__.removeprefix("check_") for c in (*data_checks, *slow_data_checks)}
    for case in DATA:
        assert set(case.excused) <= names, case.name
    for domain in DOMAINS:
        assert set(domain.unchecked) <= set(domain.package.__all__)
        assert all(domain.unchecked.values())


def test_an_idle_parameter_needs_a_reason() -> None:
    with pytest.raises(InputError, match="without a reason"):
        NetworkCase("mine", lambda: None, lambda n, g: (), lambda n: (), idle={"weight": ""})
