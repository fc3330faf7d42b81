"""Who owns what several Services claim (SEM-29): the oldest, then the first by name, however they came."""

from itertools import permutations

import pytest
from fakes.objects import service
from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.conflicts import Claims, first_in_line, note_crossing, note_loss, seniority
from pointsman.routing.frontends import HEALTH_CHECK, NODE_PORT, Claim, Wish
from pointsman.routing.notices import Notes
from pointsman.routing.route import Family, FrontendKind, Protocol
from pointsman.routing.snapshot import ServiceKey


def claim(number):
    return Claim(Family.IPV4, f"10.96.0.{number}", 80, Protocol.TCP)


def key(name):
    return ServiceKey("shop", name)


ONE, TWO = claim(1), claim(2)
A, B, C = key("a"), key("b"), key("c")


def world(**ages):
    return {key(name): service(name, created=age) for name, age in ages.items()}


SERVICES = world(a="2024-03-01T00:00:00Z", b="2024-01-01T00:00:00Z", c="2024-02-01T00:00:00Z")


def test_sem_29_the_oldest_owns_it_in_any_order_of_arrival():
    for order in permutations([A, B, C]):
        claims = Claims()
        for one in order:
            claims.put(one, (ONE,))
        claims.settle(SERVICES)
        assert claims.owner(ONE) == B


def test_sem_29_equally_old_services_are_ordered_by_namespace_and_name():
    services = world(a=None, b=None) | {ServiceKey("alpha", "z"): service("z", namespace="alpha")}
    assert sorted(services, key=lambda one: seniority(one, services)) == [ServiceKey("alpha", "z"), A, B]


@pytest.mark.parametrize(
    ("older", "younger"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z"),
        ("2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00Z", None),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:00.5Z"),
        ("2024-01-01T00:00:00Z", "nonsense"),
    ],
)
def test_age_is_compared_as_time_and_the_unknown_is_youngest(older, younger):
    services = world(b=older, a=younger)
    assert seniority(B, services) < seniority(A, services)


def test_cve_2020_8554_a_cluster_ip_goes_before_other_uses_of_its_address_whatever_their_age():
    older = service("a", created="2023-01-01T00:00:00Z", clusterIP="10.96.0.9", externalIPs=[ONE.place])
    services = {A: older, B: service("b", created="2024-01-01T00:00:00Z", clusterIP=ONE.place)}
    claims = Claims()
    claims.put(A, (ONE,))
    claims.settle(services)
    claims.put(B, (ONE,))
    assert claims.settle(services) == {A, B}
    assert claims.owner(ONE) == B
    claims.put(B, ())
    assert claims.settle(services) == {A}
    assert claims.owner(ONE) == A


def test_a_single_claimant_owns_at_once_and_nobody_is_affected():
    claims = Claims()
    claims.put(A, (ONE,))
    assert claims.settle(SERVICES) == set()
    assert claims.owner(ONE) == A
    assert claims.owner(TWO) is None


def test_a_newcomer_that_loses_affects_nobody_but_itself():
    claims = Claims()
    claims.put(B, (ONE,))
    claims.settle(SERVICES)
    claims.put(A, (ONE,))
    assert claims.settle(SERVICES) == set()
    assert claims.owner(ONE) == B


def test_an_older_service_takes_over_and_the_former_owner_is_affected():
    claims = Claims()
    claims.put(A, (ONE,))
    claims.settle(SERVICES)
    claims.put(B, (ONE, TWO))
    assert A in claims.settle(SERVICES)
    assert claims.owner(ONE) == B


def test_when_the_owner_goes_the_next_in_line_follows_at_once():
    claims = Claims()
    for one in (A, B, C):
        claims.put(one, (ONE,))
    claims.settle(SERVICES)
    claims.put(B, ())
    assert claims.settle(SERVICES) == {A, C}  # the one gets it, the other must name the new owner
    assert claims.owner(ONE) == C
    claims.put(C, (TWO,))
    assert claims.settle(SERVICES) == {A}
    assert (claims.owner(ONE), claims.owner(TWO)) == (A, C)


def test_a_service_made_anew_under_its_old_name_loses_its_place():
    claims = Claims()
    claims.put(A, (ONE,))
    claims.put(B, (ONE,))
    claims.settle(SERVICES)
    claims.put(B, (ONE,))
    assert claims.settle(SERVICES | world(b="2024-12-01T00:00:00Z")) == {A, B}
    assert claims.owner(ONE) == A


NAMES = "abcd"
STEPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sets(st.integers(1, 3)), st.sampled_from([None, "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"])),
    max_size=15,
)


@given(STEPS, st.lists(st.booleans(), min_size=15, max_size=15))
def test_any_history_gives_what_the_present_says(steps, settle):
    """And whoever sees another owner than at the last settlement is named by it, or has just spoken."""
    claims, services, held, seen = Claims(), {}, {}, {}
    spoke = set()
    for (name, numbers, age), now in zip(steps, settle, strict=False):
        one = key(name)
        services[one], held[one] = service(name, created=age), numbers
        claims.put(one, tuple(map(claim, sorted(numbers))))
        spoke.add(one)
        if now or len(spoke) == len(NAMES):
            check(claims, services, held, seen, spoke)
    check(claims, services, held, seen, spoke)


def check(claims, services, held, seen, spoke):
    affected = claims.settle(services)
    for number in (1, 2, 3):
        claimants = [one for one, numbers in held.items() if number in numbers]
        owner = first_in_line(claim(number), claimants, services) if claimants else None
        assert claims.owner(claim(number)) == owner
        if seen.get(number) != owner:
            assert set(claimants) <= affected | spoke
        seen[number] = owner
    spoke.clear()


def test_the_loser_is_told_who_has_it():
    notes = Notes("Service shop/web")
    note_loss(Wish(FrontendKind.EXTERNAL_IP, ONE, "spec.externalIPs[1]"), A, notes)
    note_loss(Wish(FrontendKind.NODE_PORT, Claim(None, HEALTH_CHECK, 32000, Protocol.TCP), "spec.healthCheckNodePort"), A, notes)
    texts = [str(notice) for notice in notes.notices()]
    assert texts[0].startswith("Service shop/web: spec.externalIPs[1]: 10.96.0.1:80/TCP belongs to Service shop/a (")
    assert texts[0].endswith("this external IP is not programmed")
    assert texts[1].endswith("this health-check node port is not programmed")


NODE_PORTS = Claim(Family.IPV4, NODE_PORT, 30080, Protocol.TCP)
MET = Claim(Family.IPV4, "192.0.2.7", 30080, Protocol.TCP)
LOCAL = frozenset({"192.0.2.7", "192.0.2.8"})


def test_sem_40_a_node_port_gives_way_to_a_frontend_at_a_local_address():
    claims = Claims()
    claims.put(A, (NODE_PORTS,))
    assert claims.cross(LOCAL) == set()
    claims.put(B, (MET, Claim(Family.IPV4, "192.0.2.8", 30080, Protocol.UDP)))
    assert claims.cross(LOCAL) == {A}
    assert claims.crossings(NODE_PORTS) == ("192.0.2.7",)
    assert claims.cross(LOCAL) == set(), "nothing has changed"
    assert claims.cross(frozenset()) == {A}
    assert claims.crossings(NODE_PORTS) == ()
    assert claims.cross(LOCAL) == {A}
    claims.put(B, ())
    assert claims.cross(LOCAL) == {A}


def test_a_crossing_is_told_with_both_names_and_the_way_out():
    notes = Notes("Service shop/a")
    note_crossing(Wish(FrontendKind.NODE_PORT, NODE_PORTS, "spec.ports[0].nodePort"), "192.0.2.7", B, notes)
    [notice] = notes.notices()
    assert "192.0.2.7:30080/TCP is a frontend of Service shop/b" in notice.text
    assert "another port" in notice.text
