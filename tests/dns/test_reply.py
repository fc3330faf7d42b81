"""Replies that tell of a failure."""

from pointsman.dns.question import SERVFAIL
from pointsman.dns.reply import Reply, failure


def test_a_failure_has_no_sections_and_is_not_authoritative():
    """WIR-15."""
    assert failure(SERVFAIL, "forward") == Reply(rcode=SERVFAIL, flags=0, plugin="forward", bare=True)
    assert failure(SERVFAIL).but(zone=".").zone == "."
