from msgspec import structs
from pointsman.conntrack.accounts import Accounts
from pointsman.conntrack.classify import Judge
from pointsman.conntrack.flow import Counters, Direction, Flow, Status
from pointsman.dataplane.traffic import Passed
from pointsman.routing.route import Family
from proxy.views import NODE, small

JUDGE = Judge(small().routing, NODE)


def flow(port, packets, size, *, to="10.96.0.10", endpoint="10.244.1.1", identity=1):
    first, back = Direction("10.244.9.9", to, port, 80), Direction(endpoint, "10.244.9.9", 8080, port)
    return Flow(Family.IPV4, 6, first, back, Status.DST_NAT, identity=identity, sent=Counters(packets, size), returned=Counters(2, 20))


def passed(*numbers):
    return (Passed("TCP", "", 0, "10.244.1.1", 8080, 0, *numbers, subject="shop/web:http"),)


def test_entries_are_added_up_by_endpoint():
    accounts = Accounts()
    accounts.read([flow(1000, 3, 300), flow(1001, 4, 400)], JUDGE)
    assert accounts.passed() == passed(7, 700, 4, 40)


def test_what_entries_gain_is_added_and_what_ended_stays():
    accounts = Accounts()
    accounts.read([flow(1000, 3, 300), flow(1001, 4, 400)], JUDGE)
    accounts.read([flow(1000, 5, 500)], JUDGE)
    assert accounts.passed() == passed(9, 900, 4, 40)
    accounts.read([], JUDGE)
    assert accounts.passed() == passed(9, 900, 4, 40)


def test_a_new_connection_between_the_same_ends_counts_from_zero():
    accounts = Accounts()
    accounts.read([flow(1000, 3, 300)], JUDGE)
    accounts.read([flow(1000, 4, 400, identity=2)], JUDGE)
    assert accounts.passed() == passed(7, 700, 4, 40)


def test_what_is_not_counted_and_what_is_no_services_is_left_out():
    accounts = Accounts()
    accounts.read([structs.replace(flow(1000, 3, 300), sent=None), flow(1001, 3, 300, to="192.0.2.1")], JUDGE)
    assert accounts.passed() == ()
