"""Lives of replies."""

from pointsman.dns.question import SERVFAIL
from pointsman.dns.reply import FOREVER, Life, Reply, failure


def test_a_life_is_only_ever_shortened():
    assert Life(("a",)).with_limit(5.0) == Life(("a",), until=5.0)
    assert Life(until=3.0).with_limit(5.0).until == 3.0
    assert Life().until == FOREVER


def test_a_failure_has_no_sections_and_is_not_authoritative():
    """WIR-15."""
    assert failure(SERVFAIL, "forward") == Reply(rcode=SERVFAIL, flags=0, plugin="forward", bare=True)
    assert failure(SERVFAIL).but(zone=".").zone == "."
