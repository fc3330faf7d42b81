"""The short cut answers as the chain would, or not at all."""

import dns.message
import pytest
from dns.edns import GenericOption
from fakes.dns_chain import desk_of
from fakes.dns_cluster import ask, endpoint, endpoint_slice, plugin, service
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.books import Books, Top
from pointsman.dns.contract import Plain
from pointsman.dns.denial import Denials
from pointsman.dns.feed import Change
from pointsman.dns.hot import Hot, Room
from pointsman.dns.names import wire

OBJECTS = (service("web", "10.96.0.1"), service("db", "None"), endpoint_slice("orphan", endpoint("10.0.0.1")))
LABELS = st.sampled_from(
    [
        "web",
        "db",
        "shop",
        "svc",
        "pod",
        "orphan",
        "nosuch",
        "com",
        "10-0-0-1",
        "_http",
        "_tcp",
        "dns-version",
        "ns",
        "dns",
        "Shop",
        "a\\000b",
    ]
)


def raw(name, qtype="A", **options):
    return dns.message.make_query(name, qtype, id=0, **options).to_wire()


@pytest.fixture(scope="module")
def desk():
    return desk_of(*OBJECTS)


@given(
    st.lists(LABELS, max_size=5),
    st.sampled_from(["A", "AAAA", "SRV", "SOA", "HTTPS", "TXT", "NS", "AXFR"]),
    st.sampled_from([{}, {"use_edns": 0}, {"use_edns": 0, "want_dnssec": True}]),
)
@settings(max_examples=200)
def test_what_is_denied_here_is_denied_so_by_the_chain(labels, qtype, options):
    desk, _, catalog, _ = desk_of(*OBJECTS)
    name = ".".join([*labels, "Cluster.local"])
    message = raw(name, qtype, **options)
    reply = desk.denials.answer(message[2:])
    if reply is None:
        return
    wanted = ask(plugin(catalog), name, qtype, **options)
    wanted.id = 0
    found = dns.message.from_wire(b"\x00\x00" + reply)
    assert found.to_wire() == wanted.to_wire()
    assert (found.flags, found.ednsflags, found.payload) == (wanted.flags, wanted.ednsflags, wanted.payload)


@pytest.mark.parametrize("name", ["example.com.shop.svc", "example.com.svc", "example.com", "nosuch.shop.svc", "nosuch.svc", "x"])
def test_src_04_the_search_path_is_denied_here(desk, name):
    assert desk[0].denials.answer(raw(f"{name}.cluster.local")[2:]) is not None


@pytest.mark.parametrize(
    "name", ["web.shop.svc", "x.web.shop.svc", "x.orphan.shop.svc", "shop.svc", "svc", "pod", "1-2-3-4.shop.pod", "dns-version", "ns.dns"]
)
def test_what_may_exist_is_for_the_chain(desk, name):
    assert desk[0].denials.answer(raw(f"{name}.cluster.local")[2:]) is None


def test_names_elsewhere_are_for_the_chain(desk):
    assert desk[0].denials.answer(raw("example.com")[2:]) is None
    assert desk[0].denials.answer(raw("cluster.local")[2:]) is None


@pytest.mark.parametrize("change", [
    lambda message: message[:2] + b"\x09" + message[3:],  # an opcode
    lambda message: message[:2] + b"\x81" + message[3:],  # a reply
    lambda message: message[:4] + b"\x00\x02" + message[6:],  # two questions
    lambda message: message[:-1] + b"\x03",  # class CH
    lambda message: message + b"\x00",
    lambda message: message[:-1],
    lambda message: message[:10] + b"\x00\x01" + message[12:],  # a promised OPT
    lambda message: message[:10] + b"\x00\x02" + message[12:] + bytes(22),
])  # fmt: skip
def test_unusual_messages_are_for_the_chain(desk, change):
    assert desk[0].denials.answer(change(raw("nosuch.shop.svc.cluster.local"))[2:]) is None


def test_wir_33_options_go_back_as_the_chain_sends_them(desk):
    options = [GenericOption(8, b"\0\1\x18\0\xc0\0\2"), GenericOption(10, b"12345678"), GenericOption(65001, b"")]
    message = raw("x.cluster.local", use_edns=0, options=options)
    reply = desk[0].denials.answer(message[2:])
    assert b"\x00\x00" + reply == desk[0].take(message, ("127.0.0.1", 1), ("127.0.0.1", 53), lambda late: None, udp=True)
    assert [int(option.otype) for option in dns.message.from_wire(b"\x00\x00" + reply).options] == [10]
    assert desk[0].denials.answer(raw("x.cluster.local", use_edns=1)[2:]) is None
    assert desk[0].denials.answer(message[2:-1]) is None
    assert desk[0].denials.answer(raw("x.cluster.local", use_edns=0, options=[GenericOption(8, b"12")])[2:]) is None


ZONE = wire("cluster.local")


@pytest.mark.parametrize("name", [b"\x82" + b"a" * 130, b"\xc1" + b"a" * 193, (b"\x3f" + b"a" * 63) * 4])
def test_wir_04_names_that_cannot_be_are_for_the_chain(desk, name):
    message = b"\0\0\1\0\0\1\0\0\0\0\0\0" + name + ZONE + b"\0\1\0\1"
    assert desk[0].denials.answer(message[2:]) is None
    reply = desk[0].take(message, ("127.0.0.1", 1), ("127.0.0.1", 53), lambda late: None, udp=True)
    assert reply[3] & 15 == 1  # FORMERR


def test_wir_40_no_denial_is_larger_than_the_client_takes(desk):
    message = raw("a." * 60 + "cluster.local", use_edns=0, payload=512, options=[GenericOption(12, bytes(310))])
    assert desk[0].denials.answer(message[2:]) is None
    shorter = raw("a." * 60 + "cluster.local", use_edns=0, payload=512, options=[GenericOption(12, bytes(200))])
    assert len(desk[0].denials.answer(shorter[2:])) + 2 <= 512


def test_who_asks_for_the_servers_name_is_answered_by_the_chain(desk):
    message = raw("x.cluster.local", use_edns=0, options=[GenericOption(10, b"12345678"), GenericOption(3, b"")])
    assert desk[0].denials.answer(message[2:]) is None


def test_a_service_that_comes_is_answered_at_once_though_its_denial_is_hot():
    """PAIN-10: nothing that just came to exist is denied from memory."""
    desk, _, catalog, _ = desk_of(*OBJECTS)
    key = raw("new.shop.svc.cluster.local")[2:]
    for _ in range(2):
        assert desk.denials.answer(key) is not None
    assert key in desk.hot.entries
    from fakes.dns_cluster import snapshot_of  # noqa: PLC0415
    from pointsman.dns.journal import fact_of  # noqa: PLC0415
    from pointsman.routing.snapshot import ServiceKey  # noqa: PLC0415

    fact = fact_of(snapshot_of(service("new", "10.96.0.9")), ServiceKey("shop", "new"))
    desk.hot.withdraw(catalog.apply(Change(services=(fact,))))
    assert key not in desk.hot.entries
    assert desk.denials.answer(key) is None


def test_rec_110_before_the_cluster_is_known_nothing_is_denied():
    desk, _, catalog, _ = desk_of(*OBJECTS)
    catalog.synced = False
    assert desk.denials.answer(raw("nosuch.shop.svc.cluster.local")[2:]) is None


def test_exempt_names_and_bufsize():
    _, _, catalog, tally = desk_of(*OBJECTS)
    plain = Plain(wire("cluster.local"), 7, 9, ".", frozenset({wire("x.cluster.local")}), limit=1232)
    denials = Denials((plain,), catalog, Books(tally, "s", "udp", "1"), Hot(lambda records: None, Room(1 << 20), Top()))
    assert denials.answer(raw("x.cluster.local")[2:]) is None
    found = dns.message.from_wire(b"\x00\x00" + denials.answer(raw("y.cluster.local", use_edns=0, payload=4096)[2:]))
    assert (found.payload, found.authority[0].ttl, found.authority[0][0].minimum) == (1232, 7, 9)


def test_denials_reach_the_books():
    desk, _, _, tally = desk_of(*OBJECTS)
    for number in range(10):
        desk.denials.answer(raw(f"x{number}.cluster.local", "AAAA")[2:])
    desk.settle()
    desk.settle()
    found = {
        sample.metric: sample
        for sample in tally.dump()
        if sample.labels[-2:] == ("NXDOMAIN", "kubernetes") or sample.labels[-1:] == ("AAAA",)
    }
    assert {sample.values for sample in found.values()} == {(10,)}
