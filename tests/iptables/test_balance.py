"""Chains that choose a backend; what packets make of them is proven in test_compile."""

from fractions import Fraction

import pytest
from fakes import routes as make
from pointsman.iptables.balance import balance, leading
from pointsman.iptables.rule import parse
from pointsman.routing.route import Family

V4, V6 = Family.IPV4, Family.IPV6


def named(name, backend):
    return f"OWN-{backend.address[-1]}"


def balanced(family=V4, count=3, **changes):
    route = make.route(family, backends=[make.backend(family, number + 1) for number in range(count)], **changes)
    found = {}
    balance(found, route, "CHAIN", route.cluster, named)
    return route, {key.chain: value.split("\n") for key, value in found.items()}


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_backend_has_an_equal_share(family, count):
    route, chains = balanced(family, count)
    left, shares = Fraction(1), []
    for line in chains["CHAIN"]:
        chance = next((Fraction(one.options[3]) for one in parse(line).matches if one.name == "statistic"), Fraction(1))
        shares.append(left * chance)
        left -= left * chance
    assert [float(share) for share in shares] == pytest.approx([1 / count] * count)
    assert left == 0
    ends = [line.rpartition(" ")[2] for line in chains["CHAIN"]]
    assert ends == [str(one) for one in route.cluster]


def test_sem_25_with_affinity_a_client_is_known_by_the_chains_of_endpoints():
    _, chains = balanced(count=2, affinity_seconds=60)
    assert chains.keys() == {"CHAIN", "OWN-1", "OWN-2"}
    first, second, *choices = chains["CHAIN"]
    assert "--rcheck --seconds 60 --reap --name OWN-1" in first
    assert second.endswith("-j OWN-2")
    assert [line.rpartition(" ")[2] for line in choices] == ["OWN-1", "OWN-2"]
    assert "--set --name OWN-1" in chains["OWN-1"][0]


def test_a_frontend_leads_to_its_chain():
    found = leading(make.route(V6, cluster_ip="fd00::a", port=53), "fd00::a", "cluster IP", "CHAIN")
    assert found == '-d fd00::a/128 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 53 -j CHAIN'
