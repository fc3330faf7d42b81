"""dns64: AAAA made from A (RFC 6147; the addresses of RFC 6052, section 2.4)."""

import ipaddress

import pytest
from fakes.chains import AAAA, A, Next, around, linked, query, record, soa
from fakes.corefiles import options
from pointsman.dns.corefile.options import Dns64Options
from pointsman.dns.plugins.dns64 import Dns64, embedded
from pointsman.dns.reply import Reply, failure

SIX = {"client": ("2001:db8::1", 1)}
NODATA = Reply(authority=(soa("example", 20),))
FOUR = Reply(answer=(record("a.example", A, 300, b"\xc0\0\2\x21"),))


def dns64(answer_six, answer_four, *lines):
    everything = Next(lambda asked: answer_four if asked.qtype == A else answer_six)
    return linked(Dns64(options(Dns64Options, *(lines or ("dns64",))), around()), everything, everything)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ],
)
def test_addresses_of_rfc_6052(prefix, expected):
    assert embedded(ipaddress.IPv6Network(prefix), bytes((192, 0, 2, 33))) == ipaddress.ip_address(expected).packed


async def test_an_address_is_made_where_there_is_none():
    respond, _ = dns64(NODATA, FOUR)
    reply = await respond(query("a.example", AAAA, **SIX))
    assert [(one.rtype, one.ttl, one.rdata) for one in reply.answer] == [(AAAA, 20, ipaddress.ip_address("64:ff9b::c000:221").packed)]
    assert reply.life is None


async def test_without_a_soa_it_lives_ten_minutes_at_most():
    respond, _ = dns64(Reply(), Reply(answer=(record("a.example", A, 9999, b"\1\2\3\4"),)))
    assert (await respond(query("a.example", AAAA, **SIX))).answer[0].ttl == 600


@pytest.mark.parametrize("asked", [query("a.example", AAAA), query("a.example", A, **SIX), query("a.example", AAAA, qclass=3, **SIX)])
async def test_what_is_left_alone(asked):
    respond, behind = dns64(NODATA, FOUR)
    await respond(asked)
    assert len(behind.asked) == 1


async def test_names_that_do_not_exist_and_real_addresses_stay():
    respond, _ = dns64(Reply(rcode=3), FOUR)
    assert (await respond(query("a.example", AAAA, **SIX))).rcode == 3
    real = Reply(answer=(record("a.example", AAAA, 5, b"\1" * 16),))
    respond, _ = dns64(real, FOUR)
    assert (await respond(query("a.example", AAAA, **SIX))).answer == real.answer
    respond, _ = dns64(real, FOUR, "dns64 {", "translate_all", "allow_ipv4", "}")
    assert (await respond(query("a.example", AAAA))).answer != real.answer


async def test_failures_are_failures_and_nothing_is_authoritative():
    """What this server itself could not do is not asked again as A; AA is never set (RFC 6147, section 5.1.2)."""
    respond, behind = dns64(failure(2), FOUR)
    assert await respond(query("a.example", AAAA, **SIX)) == failure(2)
    assert len(behind.asked) == 1
    respond, _ = dns64(NODATA, FOUR)
    assert (await respond(query("a.example", AAAA, **SIX))).flags == 0
    respond, _ = dns64(NODATA, failure(2, "forward", "no healthy proxies"))
    reply = await respond(query("a.example", AAAA, **SIX))
    assert (reply.rcode, reply.flags, reply.bare, reply.error) == (2, 0, False, "")
