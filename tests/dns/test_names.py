"""Wire names to text and back, zones on label boundaries, reverse names."""

import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns import names

LABELS = st.lists(st.binary(min_size=1, max_size=20), max_size=6)


@given(LABELS)
@settings(max_examples=200)
def test_text_and_wire_are_inverse_and_agree_with_dnspython(parts):
    wire = names.join(parts)
    assert names.wire(names.text(wire)) == wire
    assert names.labels(wire) == parts
    assert dns.name.from_text(names.text(wire)).to_wire() == wire


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, ".".join(["a" * 60] * 5), "a\\", "a\\300b"])
def test_what_is_no_name_is_told(text):
    with pytest.raises(names.NotANameError):
        names.wire(text)


def test_a_final_dot_may_be_missing_and_case_is_kept():
    assert names.wire("Web.shop") == names.wire("Web.shop.") == b"\x03Web\x04shop\x00"
    assert names.wire(".") == names.wire("") == b"\x00"


def test_a_zone_ends_at_a_label_only():
    """The bytes of a label may look like a length and the zone's name; CoreDNS compares labels, too (REC-30)."""
    zone = names.wire("local")
    assert names.cut(names.wire("cluster.local"), zone) == 8
    assert names.cut(zone, zone) == 0
    assert names.cut(names.wire("xlocal"), zone) == -1
    tricky = names.join([b"a\x05local"])
    assert tricky.endswith(zone)
    assert names.cut(tricky, zone) == -1
    assert names.cut(names.wire("a.b"), names.ROOT) == 4


@given(LABELS, LABELS)
@settings(max_examples=200)
def test_cut_is_what_labels_say(left, right):
    zone, name = names.join(right), names.join([*left, *right])
    assert names.cut(name, zone) == len(name) - len(zone)


def test_suffixes_and_parent():
    assert list(names.suffixes(names.wire("a.b"))) == [names.wire("a.b"), names.wire("b"), names.ROOT]
    assert names.parent(names.wire("a.b")) == names.wire("b")
    assert names.parent(names.ROOT) == names.ROOT


@pytest.mark.parametrize("address", ["10.0.0.7", "255.255.255.255", "fd00::1", "2001:db8::a:b"])
def test_reverse_names_are_read_back(address):
    """PTR-01."""
    import ipaddress  # noqa: PLC0415

    assert names.address_of(names.reverse(address)) == ipaddress.ip_address(address).packed


@pytest.mark.parametrize(
    "text", ["in-addr.arpa", "0.0.10.in-addr.arpa", "1.7.0.0.10.in-addr.arpa", "07.0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa",
             "x.0.0.10.in-addr.arpa", "1.ip6.arpa", "example.com"],
)  # fmt: skip
def test_ptr_01_partial_and_malformed_reverse_names_have_no_address(text):
    assert names.address_of(names.wire(text)) is None


def test_obs_42_text_has_the_escapes_of_coredns():
    assert names.text(names.join([b"a b.c", b"'@;()\"\\$", b"\x00\xe9"])) == "a\\ b\\.c.\\'\\@\\;\\(\\)\\\"\\\\$.\\000\\233."
