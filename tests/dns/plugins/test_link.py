"""What plugins share: the ends of chains, and names in one of two containers."""

from fakes.chains import query
from pointsman.dns.contract import Plain
from pointsman.dns.plugins.link import Either, Quiet, no_next, refused


async def test_rec_101_and_wir_12_the_ends_of_chains():
    reply = await no_next("errors")(query("a"))
    assert (reply.rcode, reply.error, reply.bare) == (2, "plugin/errors: no next plugin found", True)
    assert (await refused(query("a"))).rcode == 5


def test_names_are_in_either():
    both = Either(frozenset({b"a"}), frozenset({b"b"}))
    assert b"a" in both
    assert b"b" in both
    assert b"c" not in both


def test_a_quiet_plugin_leaves_the_short_cut_alone():
    plain = Plain(b"\x01a\x00", 5, 5, ".")
    assert Quiet().plain(plain) is plain
