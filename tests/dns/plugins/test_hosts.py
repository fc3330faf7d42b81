"""hosts: names of a file and of the Corefile (section 3.5 of the specification)."""

import os

import pytest
from fakes.chains import AAAA, MX, PTR, A, around, counted, linked, query
from fakes.corefiles import options
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import HostsOptions
from pointsman.dns.names import wire
from pointsman.dns.plugins.hosts import Hosts, table

INLINE = ("192.0.2.1 a.example b.example", "192.0.2.2 a.example", "2001:db8::1 a.example", "192.0.2.9 *.wild.example")


def hosts(*lines, file="/nothing/hosts", surroundings=None):
    return Hosts(options(HostsOptions, f"hosts {file} {{", *INLINE, *lines, "}"), surroundings or around())


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("a.example", A, [b"\xc0\0\2\1", b"\xc0\0\2\2"]),
        ("A.Example", AAAA, [bytes.fromhex("20010db8000000000000000000000001")]),
        ("b.example", AAAA, []),
        ("a.example", MX, []),
        ("x.wild.example", A, [b"\xc0\0\2\x09"]),
        ("1.2.0.192.in-addr.arpa", PTR, [wire("a.example"), wire("b.example")]),
    ],
)
async def test_what_is_there(name, qtype, expected):
    """A name that is there has an empty answer for other types, without SOA."""
    respond, behind = linked(hosts())
    reply = await respond(query(name, qtype))
    assert (reply.rcode, [one.rdata for one in reply.answer], reply.authority) == (0, expected, ())
    assert all(one.ttl == 3600 and one.owner == wire(name) for one in reply.answer)
    assert not behind.asked


async def test_what_is_not_there():
    respond, behind = linked(hosts())
    assert (await respond(query("x.example"))).rcode == 2
    assert (await respond(query("x.y.wild.example"))).rcode == 2
    await respond(query("9.9.9.9.in-addr.arpa", PTR))
    assert len(behind.asked) == 1
    respond, behind = linked(hosts("fallthrough"))
    await respond(query("x.example"))
    assert len(behind.asked) == 1
    respond, behind = linked(hosts("fallthrough other.example"))
    assert (await respond(query("x.example"))).rcode == 2


async def test_options():
    respond, behind = linked(hosts("no_reverse", "ttl 7", "fallthrough a.example", "fallthrough_unsupported"))
    assert (await respond(query("a.example"))).answer[0].ttl == 7
    await respond(query("1.2.0.192.in-addr.arpa", PTR))
    await respond(query("a.example", PTR))
    await respond(query("a.example", MX))
    assert len(behind.asked) == 3


async def test_unsupported_types_are_handed_on_where_fallthrough_hands_on():
    respond, behind = linked(hosts("fallthrough x.example", "fallthrough_unsupported"))
    reply = await respond(query("a.example", MX))
    assert (reply.rcode, reply.answer, len(behind.asked)) == (0, (), 0)


def test_mapped_addresses_are_ipv4_and_names_elsewhere_are_not_read():
    one = table(["::ffff:192.0.2.5 m.example", "192.0.2.6 other.org b.example"], (wire("example"),))
    assert one.find(wire("m.example")) == {A: [bytes((192, 0, 2, 5))]}
    assert one.find(wire("other.org")) == {}
    assert one.reverse == {bytes((192, 0, 2, 5)): [wire("m.example")], bytes((192, 0, 2, 6)): [wire("b.example")]}
    assert table(["192.0.2.5 m.example"], reverse=False).reverse == {}


def test_a_wildcard_answers_types_that_the_name_itself_has_not():
    one = table(["192.0.2.1 a.example", "2001:db8::1 *.example", "192.0.2.2 *.example"])
    assert one.find(wire("a.example"))[A] == [bytes((192, 0, 2, 1))]
    assert len(one.find(wire("a.example"))[AAAA]) == 1
    assert len(one) == 4


async def test_the_file_comes_before_the_corefile(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("198.51.100.9 a.example\n")
    surroundings = around()
    lines = (f"hosts {path} {{", "192.0.2.1 a.example", "198.51.100.9 a.example", "}")
    respond, _ = linked(Hosts(options(HostsOptions, *lines), surroundings))
    assert [one.rdata[0] for one in (await respond(query("a.example"))).answer] == [198, 192]
    assert counted(surroundings, "coredns_hosts_entries", str(path)) == 6


async def test_other_zones_pass_by():
    plugin = Hosts(options(HostsOptions, "hosts /nothing example.org {", *INLINE, "}"), around())
    respond, behind = linked(plugin)
    await respond(query("a.example"))
    assert len(behind.asked) == 1


async def test_the_file_is_read_again_when_it_changed(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("198.51.100.1 c.example # comment\nnonsense\n198.51.100.2\n")
    forgotten = []
    surroundings = around(forget=lambda: forgotten.append(1))
    plugin = hosts(file=path, surroundings=surroundings)
    respond, _ = linked(plugin)
    assert (await respond(query("c.example"))).answer[0].rdata == bytes((198, 51, 100, 1))
    seen = len(forgotten)
    plugin.refresh()
    assert len(forgotten) == seen
    path.write_text("198.51.100.3 c.example\n")
    os.utime(path, ns=(1, 1))
    plugin.refresh()
    assert (await respond(query("c.example"))).answer[0].rdata == bytes((198, 51, 100, 3))
    assert len(forgotten) == seen + 1
    path.unlink()
    plugin.refresh()
    assert (await respond(query("c.example"))).rcode == 2
    assert (await respond(query("a.example"))).answer
    assert "its names are gone" in surroundings.tell.text()


async def test_watching_begins_and_ends():
    plugin = hosts()
    plugin.start()
    plugin.stop()


def test_the_short_cut_leaves_out_names_that_are_here():
    plain = Plain(wire("example"), 5, 5, ".")
    borne = hosts("fallthrough").plain(plain)
    assert wire("a.example") in borne.exempt
    assert wire("q.wild.example") in borne.exempt
    assert wire("x.example") not in borne.exempt
    assert hosts().plain(plain) is None
    elsewhere = Hosts(options(HostsOptions, "hosts /nothing example.org"), around())
    assert elsewhere.plain(plain) is plain


@given(st.lists(st.text(alphabet="19.:af #\t*ax\\é", max_size=30), max_size=10))
def test_no_line_stops_the_reading(lines):
    assert len(table(lines)) >= 0
