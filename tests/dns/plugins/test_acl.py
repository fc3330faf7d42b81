"""acl: who may ask what (WIR-61)."""

import pytest
from fakes.chains import AAAA, A, around, counted, edns, linked, query
from fakes.corefiles import corefile
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import AclOptions
from pointsman.dns.names import wire
from pointsman.dns.plugins.acl import Acl
from pointsman.dns.reply import Life, Reply

GOOD = Reply(life=Life())


def acl(*lines, surroundings=None):
    made = corefile(".:53 {\n" + "\n".join(lines) + "\n}").blocks[0].all(AclOptions)
    return Acl(made, surroundings or around())


@pytest.mark.parametrize(
    ("rule", "client", "qtype", "rcode"),
    [
        ("block net 192.0.2.0/24", "192.0.2.9", A, 5),
        ("block net 192.0.2.0/24", "198.51.100.1", A, 0),
        ("block net 192.0.2.9", "192.0.2.9", A, 5),
        ("block type ANY", "192.0.2.9", A, 0),
        ("block type ANY", "192.0.2.9", 255, 5),
        ("Block TYPE AAAA Net 192.0.2.0/24", "192.0.2.9", AAAA, 5),
        ("block net 2001:db8::/32", "2001:db8::1", A, 5),
        ("block type AAAA", "192.0.2.9", A, 0),
        ("block type AAAA", "192.0.2.9", AAAA, 5),
        ("block type * net *", "192.0.2.9", A, 5),
        ("filter", "192.0.2.9", A, 0),
        ("allow", "192.0.2.9", A, 0),
    ],
)
async def test_rules(rule, client, qtype, rcode):
    respond, behind = linked(acl("acl {", rule, "}"), GOOD)
    reply = await respond(query("a.example", qtype, client=(client, 1)))
    assert reply.rcode == rcode
    assert bool(behind.asked) == (rcode == 0 and rule != "filter")
    assert reply.answer == ()


async def test_drop_says_nothing():
    respond, behind = linked(acl("acl {", "drop net 192.0.2.0/24", "}"), GOOD)
    assert await respond(query("a.example")) is None
    assert not behind.asked


async def test_the_first_rule_that_fits_decides_over_all_directives():
    surroundings = around()
    plugin = acl("acl {", "allow net 192.0.2.77", "}", "acl {", "block", "}", surroundings=surroundings)
    respond, _ = linked(plugin, GOOD)
    assert (await respond(query("a.example"))).rcode == 0
    assert (await respond(query("a.example", client=("192.0.2.78", 1)))).rcode == 5
    assert counted(surroundings, "coredns_acl_blocked_requests_total") == 1
    assert counted(surroundings, "coredns_acl_allowed_requests_total") == 1


async def test_extended_errors():
    respond, _ = linked(acl("acl {", "block type A", "filter", "}"), GOOD)
    assert (await respond(query("a.example", edns=edns()))).options == b"\0\x0f\0\2\0\x0f"
    assert (await respond(query("a.example", AAAA, edns=edns()))).options == b"\0\x0f\0\2\0\x11"


async def test_obs_22_each_answer_is_counted_with_the_zone_of_the_rule_that_decided():
    surroundings = around()
    rules = ("acl b.example example {", "allow type A", "block", "}", "acl {", "block", "}")
    respond, _ = linked(acl(*rules, surroundings=surroundings), GOOD)
    for name, qtype in (("x.b.example", AAAA), ("x.example", AAAA), ("x.example", A), ("x.org", A)):
        await respond(query(name, qtype))
    told = {one.labels[1]: one.values[0] for one in surroundings.tally.dump() if one.metric == "coredns_acl_blocked_requests_total"}
    assert told == {"b.example.": 1, "example.": 1, ".": 1}
    other, _ = linked(acl("acl example {", "block", "}", surroundings=surroundings), GOOD)
    await other(query("a.org"))
    assert counted(surroundings, "coredns_acl_allowed_requests_total") == 2


async def test_an_acl_without_rules_allows_all():
    respond, _ = linked(acl("acl"), GOOD)
    assert (await respond(query("a.example"))).rcode == 0


async def test_what_depends_on_the_client_has_no_life_and_other_zones_keep_theirs():
    respond, _ = linked(acl("acl a.example {", "allow", "}"), GOOD)
    assert (await respond(query("x.a.example"))).life is None
    assert (await respond(query("x.b.example"))).life == Life()


def test_the_short_cut_is_borne_for_zones_without_rules():
    plain = Plain(wire("cluster.local"), 5, 5, ".")
    assert acl("acl example.org {", "block", "}").plain(plain) is plain
    assert acl("acl {", "block", "}").plain(plain) is None
    assert acl("acl shop.svc.cluster.local {", "block", "}").plain(plain) is None
