"""The proxy of the environment, as Go programs understand it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.kube.detour import proxy_for

PROXY = "http://proxy.example:3128"
SERVER = "https://10.0.0.1:6443"


def direct(no_proxy, url=SERVER):
    return proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) is None


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        (SERVER, {}, None),
        (SERVER, {"HTTPS_PROXY": PROXY}, PROXY),
        (SERVER, {"https_proxy": "proxy.example:3128"}, PROXY),
        (SERVER, {"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"}, "http://upper"),
        (SERVER, {"HTTP_PROXY": PROXY}, None),
        ("http://10.0.0.1:8080", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, None),
        ("", {"HTTPS_PROXY": PROXY}, None),
    ],
)
def test_a_variable_names_the_proxy(url, environ, proxy):
    assert proxy_for(url, environ) == proxy


@pytest.mark.parametrize("entry", ["10.0.0.0/8", "192.168.0.0/16, 10.0.0.0/24", "10.0.0.1", "10.0.0.1:6443", "*", " ,10.0.0.1 ,"])
def test_addresses_and_ranges_are_spared(entry):
    """kubeadm's users list the networks of nodes, pods and Services by CIDR."""
    assert direct(entry)


@pytest.mark.parametrize("entry", ["", "10.1.0.0/16", "10.0.0.2", "10.0.0.1:443", "0.0.1", "nonsense/8", "10.0.0.1:port", "example.com"])
def test_others_are_not(entry):
    assert not direct(entry)


@pytest.mark.parametrize(
    ("entry", "host", "spared"),
    [
        ("example.com", "example.com", True), ("example.com", "api.example.com", True), ("example.com", "myexample.com", False),
        (".example.com", "api.example.com", True), (".example.com", "example.com", False), ("*.example.com", "api.example.com", True),
        ("Example.COM", "api.example.com", True), ("api.example.com:6443", "api.example.com", True),
        ("api.example.com:80", "api.example.com", False), ("10.0.0.0/8", "api.example.com", False),
    ],
)
def test_names_stand_for_their_subdomains(entry, host, spared):
    assert direct(entry, f"https://{host}:6443") is spared


@pytest.mark.parametrize("entry", ["fd00::/8", "fd00::1", "[fd00::1]", "[fd00::1]:6443"])
def test_ipv6(entry):
    assert direct(entry, "https://[fd00::1]:6443")


@given(st.text(max_size=40))
def test_no_text_is_an_error(text):
    proxy_for(SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": text})
