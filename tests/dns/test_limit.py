"""Buckets per client."""

from pointsman.dns.limit import LIMITED, ROOM, Limits
from pointsman.dns.tally import Tally


def test_a_client_gets_its_burst_and_then_its_rate():
    tally = Tally()
    limits = Limits(10.0, 3.0, tally)
    assert [limits.allow(b"a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert limits.allow(b"b", 0.0)
    assert [limits.allow(b"a", 0.1) for _ in range(2)] == [True, False]
    assert tally.cell(LIMITED) == [3]


def test_clients_are_forgotten_when_there_are_too_many():
    limits = Limits(1.0, 1.0, Tally())
    for number in range(ROOM + 100):
        limits.allow(number.to_bytes(4, "big"), 0.0)
    assert len(vars(limits)["_buckets"]) == ROOM
