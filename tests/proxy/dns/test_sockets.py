"""Where it is listened: what a Corefile asks for, sockets that are opened, shared, and taken over."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.dns import free_port
from msgspec import structs
from pointsman.dns.corefile.files import read
from pointsman.proxy.dns.sockets import ListenError, Place, Sockets, places

TESTS = Path(__file__).parents[2]


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


def test_no_two_sessions_of_tests_get_one_port_before_anything_listens_there():
    ours = free_port()
    asks = f"import itertools; from fakes import dns; dns._ports = itertools.count({ours - 20000}); print(dns.free_port())"
    for _ in range(2):  # a session that has ended leaves nothing behind
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        found = subprocess.run([sys.executable, "-P", "-c", asks], env=environment, capture_output=True, check=True)
        assert int(found.stdout) != ours


def given_by(*several):
    """Return what all workers of other processes give, with descriptors of this one."""
    return [structs.replace(each, fd=os.dup(each.fd)) for one in several for worker in range(one.workers) for each in one.of(worker)]


def same_socket(one, other):
    return os.fstat(one.fd).st_ino == os.fstat(other.fd).st_ino


@pytest.mark.parametrize(("former", "latter"), [(1, 1), (2, 2), (2, 1), (1, 2), (2, 3)])
def test_obs_54_sockets_of_an_earlier_process_are_used_for_the_same_places(former, latter):
    """Whatever the number of workers: each old socket holds a share of the queries, and each worker has one."""
    place, before, after = Place("127.0.0.1", free_port(), 0), Sockets(former), Sockets(latter)
    try:
        before.want([place])
        after.adopt(given_by(before))
        assert after.places == frozenset()
        after.want([place])
        assert sum(len(after.of(worker)) for worker in range(latter)) == 2 * former  # who answers so far gets all queries until then
        after.complete()
        after.settle()
        read = [each for worker in range(latter) for each in after.of(worker)]
        assert {each.transport for each in after.of(latter - 1)} == {"udp", "tcp"}
        assert len(read) == 2 * max(former, latter)
        old = [each for worker in range(former) for each in before.of(worker)]
        assert all(any(same_socket(one, other) for other in read) for one in old)
    finally:
        before.close()
        after.close()


def test_obs_54_what_several_give_is_one_socket_and_what_nobody_wants_is_free():
    """A process that was killed while it took over leaves two resolvers with the same sockets."""
    wanted, unwanted = (Place("127.0.0.1", free_port(), 0) for _ in range(2))
    first, last = Sockets(), Sockets()
    first.want([wanted, unwanted])
    last.adopt(given_by(first, first))
    try:
        last.want([wanted])
        first.close()
        assert len(last.of(0)) == 2
        with pytest.raises(ListenError):
            Sockets().want([unwanted])
        last.settle()
        first.want([unwanted])
    finally:
        first.close()
        last.close()


def test_obs_54_what_is_given_is_kept_when_another_place_cannot_be_had():
    given, before, after = Place("127.0.0.1", free_port(), 0), Sockets(), Sockets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        try:
            before.want([given])
            after.adopt(given_by(before))
            with pytest.raises(ListenError):
                after.want([given, Place("127.0.0.1", other.getsockname()[1], 0)])
            after.want([given])
            assert all(same_socket(one, two) for one, two in zip(before.of(0), after.of(0), strict=True))
        finally:
            before.close()
            after.close()


def test_places_are_written_as_people_do():
    assert (str(Place("::1", 53, 0)), str(Place("127.0.0.1", 53, 0))) == ("[::1]:53", "127.0.0.1:53")
