"""header, minimal, loadbalance, bufsize, nsid, cancel."""

import asyncio

from fakes.chains import CNAME, MX, TXT, A, Next, around, edns, linked, query, record, soa
from fakes.corefiles import NOWHERE
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import BufsizeOptions, CancelOptions, HeaderOptions, HeaderRule, NsidOptions
from pointsman.dns.encode import encode
from pointsman.dns.plugins.flags import Bufsize, Cancel, Header, Loadbalance, Minimal, Nsid
from pointsman.dns.question import AA, RA, RD
from pointsman.dns.reply import Life, Reply, failure

PLAIN = Plain(b"\x01a\x00", 5, 5, ".")
POSITIVE = Reply(answer=(record("a", A, 5, b"\1\2\3\4"),), authority=(soa("a"),), additional=(record("b", A, 5, b"\1\2\3\4"),), life=Life())


async def test_wir_61_header_changes_flags_in_order():
    rules = (HeaderRule(True, True, ("ra",)), HeaderRule(True, False, ("aa",)), HeaderRule(False, False, ("rd",)))
    plugin = Header(HeaderOptions(place=NOWHERE, rules=rules))
    respond, behind = linked(plugin, POSITIVE)
    reply = await respond(query("a"))
    assert reply.flags & (RA | AA) == RA
    assert not behind.asked[0].flags & RD
    assert plugin.plain(PLAIN) is None
    assert Header(HeaderOptions(place=NOWHERE, rules=rules[2:])).plain(PLAIN) is PLAIN


async def test_wir_61_minimal_empties_positive_answers_only():
    respond, _ = linked(Minimal(), POSITIVE)
    reply = await respond(query("a"))
    assert (len(reply.answer), reply.authority, reply.additional) == (1, (), ())
    denial = Reply(rcode=3, authority=(soa("a"),))
    respond, _ = linked(Minimal(), denial)
    assert await respond(query("a")) is denial


async def test_wir_50_52_loadbalance_groups_and_lets_addresses_turn():
    mixed = (record("a", MX, 5, b"\0\1\0"), record("a", A, 5, b"\1\1\1\1"), record("a", TXT, 5, b"\0"), record("a", CNAME, 5, "b"))
    respond, _ = linked(Loadbalance(), Reply(answer=mixed))
    reply = await respond(query("a"))
    assert [one.rtype for one in reply.answer] == [CNAME, TXT, A, MX]
    assert reply.rotate
    respond, _ = linked(Loadbalance(), Reply(rcode=3, answer=mixed))
    assert not (await respond(query("a"))).rotate


async def test_wir_35_bufsize_lowers_what_is_higher():
    plugin = Bufsize(BufsizeOptions(place=NOWHERE, size=1232))
    respond, behind = linked(plugin, POSITIVE)
    assert (await respond(query("a", edns=edns(4096)))).limit == 1232
    await respond(query("a", edns=edns(512)))
    await respond(query("a"))
    assert [one.edns and one.edns.size for one in behind.asked] == [1232, 512, None]
    assert plugin.plain(PLAIN).limit == 1232


async def test_nsid_is_told_to_who_asks():
    respond, _ = linked(Nsid(NsidOptions(place=NOWHERE), around(hostname="node-7")), POSITIVE)
    assert (await respond(query("a"))).options is None
    asking = await respond(query("a", edns=edns(options=b"\0\3\0\0")))
    assert asking.options == b"\0\3\0\6node-7"
    assert asking.life is None
    upstream, _ = linked(Nsid(NsidOptions(place=NOWHERE), around(hostname="node-7")), POSITIVE.but(options=b"\0\3\0\2up\0\x0f\0\2\0\6"))
    assert (await upstream(query("a", edns=edns(options=b"\0\3\0\0")))).options == b"\0\x0f\0\2\0\6\0\3\0\6node-7"
    failed, _ = linked(Nsid(NsidOptions(place=NOWHERE), around()), failure(2))
    assert (await failed(query("a", edns=edns(options=b"\0\3\0\0")))).options is None


async def test_wir_61_header_sets_and_clears_rd():
    """RD in a reply is the query's as who follows saw it, unless a rule for responses says otherwise."""

    async def seen(flags, *rules):
        respond, behind = linked(Header(HeaderOptions(place=NOWHERE, rules=tuple(HeaderRule(*rule) for rule in rules))), POSITIVE)
        asked = query("a", flags=flags)
        return bool(behind_flags(await respond(asked), asked)), bool(behind.asked[0].flags & RD)

    def behind_flags(reply, asked):
        return int.from_bytes(encode(asked, reply)[2:4], "big") & RD

    assert await seen(RD, (True, False, ("rd",))) == (False, True)
    assert await seen(0, (True, True, ("rd",))) == (True, False)
    assert await seen(0, (False, True, ("rd",))) == (True, True)
    assert await seen(RD, (False, False, ("rd",))) == (False, False)
    assert await seen(RD, (False, False, ("rd",)), (True, True, ("rd",))) == (True, False)
    assert await seen(RD, (True, False, ("aa",))) == (True, True)


async def test_header_leaves_failures_of_the_server_as_they_are():
    respond, _ = linked(Header(HeaderOptions(place=NOWHERE, rules=(HeaderRule(True, True, ("ra",)),))), failure(2))
    assert await respond(query("a")) == failure(2)


async def test_minimal_acts_on_what_is_neither_denial_nor_referral():
    bare = POSITIVE.but(answer=(), authority=())
    respond, behind = linked(Minimal(), bare)
    assert (await respond(query("a"))).additional == ()
    referral = POSITIVE.but(answer=(), authority=(record("a", 2, 5, "ns.a"),))
    for reply in (referral, POSITIVE.but(answer=()), POSITIVE.but(rcode=3)):
        behind.reply = reply
        assert await respond(query("a")) == reply


async def test_cancel_ends_what_takes_too_long():
    async def never(_query):
        await asyncio.Event().wait()

    respond, _ = linked(Cancel(CancelOptions(place=NOWHERE, timeout=0.01)), Next())
    assert (await respond(query("a"))).rcode == 3
    late = Cancel(CancelOptions(place=NOWHERE, timeout=0.01)).link(never, None)
    reply = await late(query("a"))
    assert (reply.rcode, reply.error) == (2, "context deadline exceeded")
