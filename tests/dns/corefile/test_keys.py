"""Keys and zones: COR-10 to COR-12."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.corefile.keys import Key, is_reverse, keys, within, zone, zones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".:53", Key(".", 53)),
        (".", Key(".", 53)),
        (":1053", Key(".", 1053)),
        ("dns://Example.ORG", Key("example.org.", 53)),
        ("example.org.:5300", Key("example.org.", 5300)),
        ("tls://example.org", Key("example.org.", 853, "tls")),
        ("10.0.0.0/24", Key("0.0.10.in-addr.arpa.", 53)),
        ("10.0.0.0/24:5300", Key("0.0.10.in-addr.arpa.", 5300)),
        ("2001:db8::/32", Key("8.b.d.0.1.0.0.2.ip6.arpa.", 53)),
        ("[2001:db8::/32]:5300", Key("8.b.d.0.1.0.0.2.ip6.arpa.", 5300)),
    ],
)
def test_cor_10_keys(text, expected):
    assert keys(text) == (expected,)


@pytest.mark.parametrize("text", ["ftp://x", "a..b", "a.org:99999", "a.org:x", "10.0.0.0/33", "a.org/path", "a" * 64 + ".org", "a b"])
def test_what_is_no_key_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match=r"\w") as caught:
        keys(text)
    assert repr(text)[1:9] in str(caught.value)


def test_cor_12_networks_are_cut_at_octets_and_nibbles():
    assert len(zones("10.96.0.0/12")) == 16
    assert zones("10.96.0.0/12")[0] == "96.10.in-addr.arpa."
    assert len(zones("10.0.0.0/17")) == 128
    assert zones("10.0.0.0/17")[127] == "127.0.10.in-addr.arpa."
    assert zones("0.0.0.0/0") == ("in-addr.arpa.",)
    assert len(zones("2001:db8::/30")) == 4


@given(st.integers(1, 32), st.integers(0, 2**32 - 1))
def test_cor_12_the_zones_of_a_network_hold_its_addresses_and_no_other(length, number):
    """Property: an address is in one of the zones exactly if it is in the network, up to the last whole octet."""
    address = ipaddress.ip_address(number)
    network = ipaddress.ip_network((address, length), strict=False)
    made = zones(str(network)) if length % 8 in {0, 7, 6, 5} else zones(str(ipaddress.ip_network((address, 8), strict=False)))
    assert any(within(address.reverse_pointer + ".", one) for one in made)
    outside = ipaddress.ip_address(number ^ 0x80000000)
    assert not any(within(outside.reverse_pointer + ".", one) for one in made)


def test_zones_are_lower_case_and_absolute():
    assert zone("Cluster.LOCAL") == "cluster.local."
    assert zone("") == zone(".") == "."
    assert zone("münchen.example") == "xn--mnchen-3ya.example."


def test_labels_are_respected():
    assert within("a.example.org.", "example.org.")
    assert within("example.org.", ".")
    assert not within("myexample.org.", "example.org.")
    assert is_reverse("10.in-addr.arpa.")
    assert not is_reverse("cluster.local.")
