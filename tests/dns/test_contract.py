"""The contract's own values."""

from pointsman.dns.contract import Plain
from pointsman.dns.names import wire


def test_a_short_cut_excludes_nothing_unless_it_is_told():
    plain = Plain(wire("cluster.local"), 5, 5, ".")
    assert wire("any.cluster.local") not in plain.exempt
    assert plain.limit == 0
