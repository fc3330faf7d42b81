"""rewrite: queries and replies changed by rules (section 3.5 of the specification)."""

import pytest
from fakes.chains import AAAA, CNAME, MX, PTR, SRV, A, Next, around, linked, query, record, soa, values
from fakes.corefiles import corefile
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import RewriteOptions
from pointsman.dns.names import text, wire
from pointsman.dns.plugins.rewrite import Rewrite
from pointsman.dns.question import RA, TC
from pointsman.dns.reply import Life, Reply, failure

IP = b"\1\2\3\4"


def rewrite(*lines):
    return Rewrite(corefile(".:53 {\n" + "\n".join(lines) + "\n}").blocks[0].all(RewriteOptions), around())


def echo(ttl=30):
    """Who follows: every name has an address, told under the name that was asked."""
    return Next(lambda asked: Reply(answer=(record(text(asked.name), asked.qtype, ttl, IP),), life=Life()))


async def asked_and_owner(rule, name):
    respond, behind = linked(rewrite(rule), echo())
    reply = await respond(query(name))
    return text(behind.asked[0].key), values(reply)[0][0]


@pytest.mark.parametrize(
    ("rule", "name", "asked", "owner"),
    [
        ("rewrite name old.example new.example", "Old.example", "new.example.", "Old.example."),
        ("rewrite name exact old.example new.example", "x.old.example", "x.old.example.", "x.old.example."),
        ("rewrite name suffix .old.example .new.example", "a.old.example", "a.new.example.", "a.new.example."),
        ("rewrite name suffix .old.example .new.example answer auto", "A.old.example", "a.new.example.", "A.old.example."),
        ("rewrite name prefix old. new.", "old.a.example", "new.a.example.", "new.a.example."),
        ("rewrite name prefix old. new. answer auto", "old.a.example", "new.a.example.", "old.a.example."),
        ("rewrite name prefix old- new-", "old-a.example", "old-a.example.", "old-a.example."),
        ("rewrite name substring old. new.", "an.old.one-old.example", "an.new.one-new.example.", "an.new.one-new.example."),
        ("rewrite name suffix .old.example .New.Example answer auto", "A.old.example", "a.new.example.", "A.old.example."),
        (r"rewrite name regex (.*)-(us|eu)\.example\.$ {2}.{1}.net", "ftp-eu.example", "eu.ftp.net.", "eu.ftp.net."),
        (
            r"rewrite name regex (.*)-(us|eu)\.example\.$ {2}.{1}.net answer name (us|eu)\.(.*)\.net {2}-{1}.example",
            "ftp-eu.example", "eu.ftp.net.", "ftp-eu.example.",
        ),
    ],
)  # fmt: skip
async def test_names(rule, name, asked, owner):
    assert await asked_and_owner(rule, name) == (asked, owner)


async def test_what_stays_of_a_name_keeps_its_spelling():
    answer = (record("a.New.example", CNAME, 5, "Target.New.example"),)
    respond, _ = linked(rewrite("rewrite name suffix .old.example .new.example answer auto"), Reply(answer=answer))
    reply = await respond(query("A.old.example"))
    assert (text(reply.answer[0].owner), text(reply.answer[0].rdata)) == ("A.old.example.", "Target.old.example.")


async def test_answer_rewrites_act_last_to_first_and_auto_at_the_end():
    rule = r"rewrite name exact a.example b.example answer name (.*)\.c\.example {1}.example answer name (.*)b\.example {1}c.example"
    respond, _ = linked(rewrite(rule), Reply(answer=(record("x.b.example", A, 5, IP), record("xb.example", A, 5, IP))))
    assert [one[0] for one in values(await respond(query("a.example")))] == ["x.example.", "xc.example."]


async def test_failures_of_the_server_are_rewritten_too_and_are_replies_from_then_on():
    respond, behind = linked(rewrite("rewrite rcode suffix example SERVFAIL NXDOMAIN"), failure(2))
    reply = await respond(query("a.example"))
    assert (reply.rcode, reply.bare) == (3, False)
    other, _ = linked(rewrite("rewrite type MX TXT"), behind)
    assert [(await other(query("a.example", qtype))).bare for qtype in (A, MX)] == [True, False]


async def test_values_are_mapped_back_too():
    answer = (
        record("new.example", CNAME, 5, "x.new.example"), record("x.new.example", SRV, 5, b"\0\0\0\0\0\x50" + wire("x.new.example")),
        record("new.example", MX, 5, b"\0\x0a" + wire("new.example")),
    )  # fmt: skip
    respond, _ = linked(rewrite("rewrite name old.example new.example"), Reply(answer=answer, authority=(soa("new.example"),)))
    reply = await respond(query("old.example", MX))
    assert [text(one.owner) for one in reply.answer] == ["old.example.", "x.old.example.", "old.example."]
    assert reply.answer[0].rdata == wire("x.old.example")
    assert reply.answer[1].rdata == b"\0\0\0\0\0\x50" + wire("x.old.example")
    assert reply.answer[2].rdata == b"\0\x0a" + wire("old.example")
    assert text(reply.authority[0].owner) == "old.example."


async def test_values_by_pattern():
    rule = r"rewrite name suffix .arpa .arpa answer auto answer value (.*)\.service\.consul\. {1}.coredns.rocks."
    respond, _ = linked(rewrite(rule), Reply(answer=(record("1.2.0.192.in-addr.arpa", PTR, 5, "ftp.service.consul"),)))
    reply = await respond(query("1.2.0.192.in-addr.arpa", PTR))
    assert reply.answer[0].rdata == wire("ftp.coredns.rocks")


async def test_a_rule_ends_the_walk_unless_it_goes_on():
    stopping = rewrite("rewrite name a.example b.example", "rewrite name b.example c.example")
    respond, behind = linked(stopping, echo())
    await respond(query("a.example"))
    assert text(behind.asked[0].key) == "b.example."
    going = rewrite("rewrite continue name a.example b.example", "rewrite name b.example c.example")
    respond, behind = linked(going, echo())
    reply = await respond(query("a.example"))
    assert text(behind.asked[0].key) == "c.example."
    assert values(reply)[0][0] == "a.example."  # in reverse order: c to b, b to a


@pytest.mark.parametrize(
    ("rule", "before", "after"), [("30-300", 5, 30), ("30-300", 999, 300), ("-10", 99, 10), ("40-", 5, 40), ("7", 5, 7), ("1-9", 5, 5)]
)
async def test_ttls(rule, before, after):
    respond, _ = linked(rewrite(f"rewrite ttl suffix .example {rule}"), echo(before))
    assert values(await respond(query("a.example")))[0][2] == after


async def test_response_codes():
    respond, behind = linked(rewrite(r"rewrite rcode regex .*\.example\. SERVFAIL NOERROR"), Reply(rcode=2))
    assert (await respond(query("a.example"))).rcode == 0
    assert (await respond(query("a.org"))).rcode == 2
    behind.reply = Reply(rcode=3)
    assert (await respond(query("a.example"))).rcode == 3


async def test_types_and_classes():
    respond, behind = linked(rewrite("rewrite type ANY AAAA"), echo())
    await respond(query("a.example", 255))
    assert behind.asked[0].qtype == AAAA
    respond, behind = linked(rewrite("rewrite class CH IN"), echo())
    await respond(query("a.example", qclass=3))
    assert behind.asked[0].qclass == 1


async def test_targets_of_aliases_are_asked_anew():
    answer = (
        record("app.example", CNAME, 200, "app.cdn.example"), record("app.cdn.example", CNAME, 200, "x.cdn.net"),
        record("x.cdn.net", A, 9, IP),
    )  # fmt: skip
    everything = Next(lambda asked: Reply(answer=(record(text(asked.name), A, 100, b"\x09" * 4),)))
    respond, _ = linked(rewrite("rewrite cname suffix .cdn.net. .other.org"), Next(Reply(answer=answer)), everything)
    assert values(await respond(query("app.example"))) == [
        ("app.example.", CNAME, 200, wire("app.cdn.example")), ("app.cdn.example.", CNAME, 200, wire("x.other.org")),
        ("x.other.org.", A, 100, b"\x09" * 4),
    ]  # fmt: skip


async def test_a_renamed_alias_keeps_the_other_sections_and_takes_the_cut_of_what_it_leads_to():
    everything = Next(Reply(answer=(record("y.example", A, 100, IP),), flags=TC))
    came = Reply(answer=(record("app.example", CNAME, 60, "x.example"),), authority=(soa("example"),), flags=RA)
    respond, _ = linked(rewrite("rewrite cname exact x.example. y.example."), Next(came), everything)
    reply = await respond(query("app.example"))
    assert (len(reply.answer), reply.authority, reply.flags) == (2, (soa("example"),), RA | TC)


async def test_aliases_that_are_renamed_in_a_circle_end():
    async def everything(asked):
        return await respond(asked)

    behind = Next(Reply(answer=(record("app.example", CNAME, 60, "x.example"),)))
    respond, _ = linked(rewrite("rewrite cname exact x.example. y.example."), behind, everything)
    assert values(await respond(query("app.example")))[0] == ("app.example.", CNAME, 60, wire("y.example"))
    assert len(behind.asked) == 2


async def test_a_name_that_cannot_be_is_servfail():
    respond, behind = linked(rewrite("rewrite name regex (.*) {1}" + "x" * 70 + ".example"), echo())
    reply = await respond(query("a"))
    assert reply.rcode == 2
    assert "invalid name after rewrite" in reply.error
    assert not behind.asked


async def test_a_query_that_no_rule_fits_is_untouched():
    respond, behind = linked(rewrite("rewrite name old.example new.example"), echo())
    asked = query("a.Example")
    assert (await respond(asked)).life == Life()
    assert behind.asked == [asked]


@pytest.mark.parametrize(
    ("rule", "borne"),
    [
        ("rewrite name x.cluster.local y", "exempt"), ("rewrite name suffix .apps.example .svc", "same"),
        ("rewrite name suffix .local .x", "none"),
        ("rewrite name suffix .svc.cluster.local .x", "none"), ("rewrite name regex a b", "none"), ("rewrite cname a b", "same"),
        ("rewrite type ANY A", "same"), ("rewrite class IN CH", "none"),
    ],
)  # fmt: skip
def test_the_short_cut(rule, borne):
    plain = Plain(wire("cluster.local"), 5, 5, ".")
    found = rewrite(rule).plain(plain)
    if borne == "exempt":
        assert wire("x.cluster.local") in found.exempt
        assert wire("z.cluster.local") not in found.exempt
    else:
        assert found is (plain if borne == "same" else None)


@given(st.from_regex(r"[a-c]{1,3}(\.[a-c]{1,3}){0,3}", fullmatch=True))
async def test_exact_and_auto_rewrites_are_invisible(name):
    """Property: whatever is asked, the owner that comes back is what the client asked."""
    respond, _ = linked(rewrite("rewrite name suffix .a .b.example answer auto", "rewrite name b c.example"), echo())
    assert values(await respond(query(name)))[0][0] == f"{name}."
