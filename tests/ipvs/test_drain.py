"""pains 16, 19, 20 and 23: servers drain, for a time, in sight."""

import pytest
from pointsman.ipvs.drain import Drain, busy, waits
from pointsman.ipvs.names import MARK_PREFIX
from pointsman.ipvs.objects import Load, RealKey, VirtualKey
from pointsman.routing.route import Family, Protocol

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
ONE, TWO = RealKey(WEB, "10.244.0.1", 8080), RealKey(WEB, "10.244.0.2", 8080)
BUSY, IDLE = Load(active=1), Load()


def held(*keys, cap=60.0):
    drain = Drain(cap)
    for key in keys:
        drain.hold(key, BUSY, 100.0)
    return drain


def test_pain_16_a_server_with_connections_stays():
    assert held(ONE).due({ONE: BUSY}, (), 110.0) == ()


def test_a_drained_server_goes():
    drain = held(ONE, TWO)
    assert drain.due({ONE: IDLE, TWO: Load(inactive=1)}, (), 110.0) == (ONE,)
    drain.release(ONE)
    assert drain.keys == (TWO,)


def test_pain_19_the_cap_ends_waiting_and_begins_once():
    drain = held(ONE)
    drain.hold(ONE, BUSY, 150.0)
    assert drain.due({ONE: BUSY}, (), 159.0) == ()
    assert drain.due({ONE: BUSY}, (), 160.0) == (ONE,)


def test_pain_19_nobody_waits_for_a_node_that_is_gone():
    assert held(ONE, TWO).due({ONE: BUSY, TWO: BUSY}, {"10.244.0.2"}, 101.0) == (TWO,)


def test_a_server_that_somebody_removed_is_forgotten():
    drain = held(ONE)
    assert drain.due({}, (), 101.0) == ()
    assert len(drain) == 0


def test_pain_23_what_drains_is_listed_with_its_times_and_connections():
    drain = held(ONE)
    drain.due({ONE: Load(active=3, inactive=2)}, (), 101.0)
    [listed] = drain.listed()
    assert (listed.key, listed.since, listed.until, listed.load) == (ONE, 100.0, 160.0, Load(active=3, inactive=2))


def test_a_virtual_server_waits_for_the_last_one_behind_it():
    drain = held(ONE)
    assert drain.hold_virtual(WEB)
    assert not drain.hold_virtual(VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.2", 80))
    assert drain.orphans() == ()
    drain.release(ONE)
    assert drain.orphans() == (WEB,)
    assert drain.orphans() == ()


def test_a_virtual_server_that_is_wanted_again_stays():
    drain = held(ONE)
    drain.hold_virtual(WEB)
    drain.wanted(WEB)
    drain.release(ONE)
    assert drain.orphans() == ()


@pytest.mark.parametrize(("key", "expected"), [
    (WEB, True),
    (VirtualKey(Family.IPV4, Protocol.SCTP, "10.96.0.1", 80), True),
    (VirtualKey(Family.IPV4, Protocol.UDP, "10.96.0.1", 53), False),
    (VirtualKey(Family.IPV4, mark=MARK_PREFIX | 1 << 25 | 30053), False),
    (VirtualKey(Family.IPV4, mark=MARK_PREFIX | 30080), True),
])
def test_pain_20_udp_is_not_waited_for(key, expected):
    assert waits(key) is expected


def test_remembered_clients_are_no_connections():
    """pain 21: the kernel lets their affinity to a draining server end (expire_quiescent_template)."""
    assert not busy(Load(persistent=5))
