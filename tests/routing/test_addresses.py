"""Addresses: one canonical text per address, read the way Kubernetes reads them."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.addresses import ORDINARY, CidrSet, contains, family_of, parse_address, parse_cidr, special
from pointsman.routing.route import Family

ADDRESSES = st.ip_addresses() | st.integers(0, 0xFFFF).map(lambda low: IPv6Address((0xFD << 120) + low))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("010.000.00.01", "10.0.0.1"),
        ("0000010.0.0.008", "10.0.0.8"),
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("FD00:0:0::1", "fd00::1"),
        ("fd00:0000:0000:0000:0000:0000:0000:0001", "fd00::1"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1::2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("::", "::"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:010.0.0.1", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
    ],
)
def test_in_18_addresses_are_normalised(text, canonical):
    assert parse_address(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "", "web", "10.0.0", "10.0.0.1.2", "10.0.0.256", "10.0.0.-1", "10.0.0.1 ", " 10.0.0.1", "10.0.0.0x1", "10.0.0.1/32", "10.0.0.1:80",
        "10.0.0.1\n", "\u0661.0.0.1", "10.0.0." + "9" * 5000, "1:2", "::1%eth0", "fe80::1%1", "1::2::3", ":::", "12345::", "fd00::1\n",
        "::ffff:10.0.0.256",
    ],
)  # fmt: skip
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


@given(ADDRESSES)
def test_canonical_addresses_are_what_the_standard_library_writes(value):
    mapped = value.ipv4_mapped if isinstance(value, IPv6Address) else None
    canonical = str(mapped or value)
    assert parse_address(str(value)) == canonical
    assert parse_address(value.exploded) == canonical
    assert parse_address(canonical) == canonical
    assert family_of(canonical) is (Family.IPV4 if isinstance(ip_address(canonical), IPv4Address) else Family.IPV6)


def test_a_canonical_address_is_the_same_string():
    for text in ("10.1.2.3", "fd00:10:244::17"):
        assert parse_address(text) is text


@given(st.text(alphabet="0123456789abcdef:.", max_size=24))
def test_whatever_is_parsed_is_canonical(text):
    address = parse_address(text)
    assert address is None or (str(ip_address(address)) == address and parse_address(address) == address)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("010.001.0.0/016", "10.1.0.0/16"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("FD00::1/64", "fd00::/64"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3/64", "::/64"),
        ("::/0", "::/0"),
    ],
)
def test_in_18_cidrs_are_normalised(text, canonical):
    assert parse_cidr(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/8/8", " 10.0.0.0/8", "10.0.0.0/\u0668"]
)
def test_what_is_no_cidr_is_none(text):
    assert parse_cidr(text) is None


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("127.255.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.20.10", "link-local"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("239.1.1.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("22.0.0.1", ""),
        ("10.0.0.1", ""),
        ("fd00::1", ""),
        ("2001:db8::1", ""),
    ],
)
def test_special_addresses_are_named(address, what):
    assert special(address) == what


@given(ADDRESSES.filter(lambda value: not (isinstance(value, IPv6Address) and value.ipv4_mapped)))
def test_no_special_address_is_overlooked(value):
    unfit = value.is_unspecified or value.is_loopback or value.is_link_local or value.is_multicast
    assert bool(special(str(value))) == (unfit or str(value) == "255.255.255.255")


@given(ADDRESSES.map(str) | st.text(alphabet="0123456789abcdef:.", max_size=24), st.sampled_from(Family))
def test_the_short_way_admits_only_canonical_ordinary_addresses_of_its_family(text, family):
    if ORDINARY[family](text):
        assert parse_address(text) == text
        assert family_of(text) is family
        assert special(text) == ""


@pytest.mark.parametrize(("text", "family"), [("10.244.3.17", Family.IPV4), ("223.0.0.1", Family.IPV4), ("fd00:10:244::17", Family.IPV6)])
def test_the_short_way_admits_what_clusters_are_made_of(text, family):
    assert ORDINARY[family](text)


@given(st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=6), st.ip_addresses(v=4))
def test_a_set_of_cidrs_finds_the_longest(pairs, value):
    networks = [ip_network((address, length), strict=False) for address, length in pairs]
    holding = [network for network in networks if value in network]
    longest = str(max(holding, key=lambda network: network.prefixlen)) if holding else None
    assert CidrSet(map(str, networks)).find(str(value)) == longest


def test_families_do_not_mix():
    assert contains("0.0.0.0/0", "10.0.0.1")
    assert not contains("0.0.0.0/0", "fd00::1")
    assert not contains("::/0", "10.0.0.1")
    assert contains("fd00::/8", "fd12::1")
    assert CidrSet(()).find("10.0.0.1") is None
