"""Where it is listened: what a Corefile asks for, sockets that are opened, shared, and taken over."""

import socket

import msgspec
import pytest
from fakes.dns import free_port
from pointsman.dns.corefile.files import read
from pointsman.proxy.dns.sockets import ListenError, Place, Sockets, places


@pytest.fixture
def corefile(tmp_path):
    def from_text(text):
        (tmp_path / "Corefile").write_text(text)
        return read(str(tmp_path / "Corefile")).must()

    return from_text


def test_cor_10_blocks_without_bind_listen_at_the_default(corefile):
    found = places(corefile(".:53 {\n whoami\n}\na.test:54 {\n whoami\n}\n"), {}, ("127.0.0.1",))
    assert found == (Place("127.0.0.1", 53, 53), Place("127.0.0.1", 54, 54))
    assert places(corefile(".:53 {\n whoami\n}\n"), {})[0].address == "::"


def test_cor_14_bind_names_addresses_or_interfaces(corefile):
    found = places(corefile(".:53 {\n bind 10.0.0.1 eth0\n whoami\n}\n"), {"eth0": ("192.0.2.1", "2001:db8::1")})
    assert [each.address for each in found] == ["10.0.0.1", "192.0.2.1", "2001:db8::1"]
    with pytest.raises(ListenError, match=r"no interface of that name.*there are: lo"):
        places(corefile(".:53 {\n bind eth9\n whoami\n}\n"), {"lo": ("127.0.0.1",)})


def test_wir_45_each_place_has_udp_and_tcp_per_worker():
    place, sockets = Place("127.0.0.1", free_port(), 0), Sockets(workers=2)
    try:
        assert sockets.want([place])
        assert not sockets.want([place])
        for worker in range(2):
            assert sorted(each.transport for each in sockets.of(worker)) == ["tcp", "udp"]
        assert {each.port for each in sockets.of(0)} == {place.port}
        assert sockets.want([])
        assert sockets.of(0) == ()
    finally:
        sockets.close()


@pytest.mark.parametrize(("listener", "expected"), [
    ("127.0.0.1", ("127.0.0.1",)), ("0.0.0.0", ("192.0.2.1",)), ("::", ("192.0.2.1", "2001:db8::1")),
])  # fmt: skip
def test_rec_94_who_listens_everywhere_has_every_address_of_the_host(listener, expected):
    sockets = Sockets()
    assert sockets.local == ()
    try:
        sockets.want([Place(listener, free_port(), 0)], ("192.0.2.1", "2001:db8::1"))
        assert sockets.local == expected
    finally:
        sockets.close()


def test_a_place_that_somebody_else_has_is_an_error_and_changes_nothing():
    kept, sockets = Place("127.0.0.1", free_port(), 0), Sockets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = Place("127.0.0.1", other.getsockname()[1], 0)
        try:
            sockets.want([kept])
            with pytest.raises(ListenError, match=rf"cannot listen at {taken}: Address already in use; another DNS server has it"):
                sockets.want([taken])
            assert sockets.places == {kept}
        finally:
            sockets.close()


def test_obs_54_sockets_of_an_earlier_process_are_used_for_the_same_places():
    place, before, after = Place("127.0.0.1", free_port(), 0), Sockets(), Sockets()
    try:
        before.want([place])
        listeners = before.of(0)
        descriptors = [socket.dup(each.fd) for each in listeners]
        after.adopt(msgspec.json.encode(listeners), descriptors)
        assert after.places == frozenset()
        after.want([place])
        assert sorted(each.fd for each in after.of(0)) == sorted(descriptors)
    finally:
        before.close()
        after.close()


def test_places_are_written_as_people_do():
    assert (str(Place("::1", 53, 0)), str(Place("127.0.0.1", 53, 0))) == ("[::1]:53", "127.0.0.1:53")
