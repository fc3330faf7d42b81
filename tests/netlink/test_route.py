import pytest
from pointsman.netlink import codec, route


def attributes(body, size):
    return {kind: bytes(payload) for kind, payload in codec.attributes(body, size)}


def message(body):
    return codec.Message(route.NEW_ADDRESS, 0, 1, 0, memoryview(body))


@pytest.mark.parametrize(("address", "length"), [("10.96.0.1", 32), ("fd00:96::1", 128)])
def test_an_address_is_read_back_from_what_was_written(address, length):
    body = route.address(address, 7)
    assert body[1] == length
    assert list(route.addresses([message(body)], 7)) == [address]
    assert list(route.addresses([message(body)], 8)) == []
    assert list(route.addresses([message(body)], 8, besides=True)) == [address]
    assert list(route.addresses([message(body)], 7, besides=True)) == []


def test_an_ipv6_address_is_deprecated_and_not_probed():
    body = route.address("fd00:96::1", 7)
    assert body[2] == 0x02
    assert attributes(body, 8)[6][:8] == b"\0\0\0\0\xff\xff\xff\xff"


def test_what_is_no_address_is_refused():
    with pytest.raises(ValueError, match=r"10\.96\.0\.256"):
        route.address("10.96.0.256", 7)


def test_a_link_is_asked_for_by_name_and_made_with_its_kind():
    assert attributes(route.link_by_name("kube-ipvs0"), 16) == {3: b"kube-ipvs0\0"}
    body = route.link_by_name("kube-ipvs0", "dummy")
    assert route.link_kind(body) == "dummy"
    assert route.link_kind(route.link_by_name("eth0")) == ""
    assert route.link_index(body) == 0


@pytest.mark.parametrize("read", [route.link_index, lambda body: list(route.addresses([message(body)], 1))])
def test_too_few_bytes_are_malformed(read):
    with pytest.raises(codec.MalformedError):
        read(b"\0\0\0")


@pytest.mark.parametrize(("address", "length"), [("10.96.0.10", 32), ("fd00:96::a", 128)])
def test_a_local_route_is_read_back_from_what_was_written(address, length):
    body = route.local_route(address)
    assert body[1] == length
    assert attributes(body, 12)[4] == b"\1\0\0\0"
    assert list(route.local_routes([message(body)])) == [address]


def test_routes_of_others_are_not_ours():
    body = bytearray(route.local_route("10.96.0.10"))
    body[5] = 2  # the kernel's own
    assert list(route.local_routes([message(bytes(body))])) == []
    with pytest.raises(codec.MalformedError, match="too short"):
        list(route.local_routes([message(b"\2")]))


def test_a_local_route_may_say_from_where_this_host_sends():
    assert attributes(route.local_route("10.96.0.10", "192.0.2.1"), 12)[7] == bytes([192, 0, 2, 1])


def test_the_kernel_is_asked_for_our_routes_only():
    body = route.every_local_route(2)
    assert (body[0], body[4], body[5], body[7]) == (2, 255, route.ORIGIN, 2)  # family, table, origin, type
