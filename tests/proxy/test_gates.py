import pytest
from pointsman.proxy.gates import NAMES, SETTLED, unknown, without_effect


def test_a_name_that_no_kube_proxy_knows_is_told_with_the_one_that_was_meant() -> None:
    assert list(unknown([("WatchList", True), ("NFTablesProxyModes", True), ("xyz", False)])) == [
        "no feature gate is named 'NFTablesProxyModes'; did you mean NFTablesProxyMode?",
        "no feature gate is named 'xyz'",
    ]


def test_all_gates_that_this_program_explains_are_known() -> None:
    assert set(SETTLED) <= NAMES


def test_only_what_asks_for_something_else_is_told() -> None:
    assert list(without_effect([("LoadBalancerIPMode", True), ("LoadBalancerIPMode", False), ("WatchList", False)])) == [
        "LoadBalancerIPMode=false has no effect: ipMode is always honoured"
    ]


@pytest.mark.parametrize("name", ["PodDisruptionConditions", "KubeProxyIPVS", "NFTablesNetlink"])
def test_gates_of_the_releases_around_are_taken(name: str) -> None:
    assert list(unknown(((name, True),))) == []
