"""Batches of datagrams over real sockets: both families, wildcard addresses, replies from the address that was asked (WIR-46)."""

import socket

import pytest
from pointsman.dns.mmsg import ROOM, SLOTS, Datagrams

PLACES = [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.5"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.9")]


def bound(address):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((address, 0))
    return sock


def client_of(sock, address):
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(30)
    client.connect((address, sock.getsockname()[1]))  # takes replies from that address only
    return client


@pytest.mark.parametrize(("listen", "asked"), PLACES)
def test_wir_46_replies_come_from_the_address_that_was_asked(listen, asked):
    with bound(listen) as sock, client_of(sock, asked) as client:
        batch = Datagrams(sock, lost := [0])
        for round_ in range(2):
            for number in range(3):
                client.send(b"%d%d question" % (round_, number))
            assert batch.receive() == 3
            assert [batch.memory[slot * ROOM : slot * ROOM + batch.length(slot)] for slot in range(3)] == [
                b"%d%d question" % (round_, n) for n in range(3)
            ]
            assert {batch.client(slot) for slot in range(3)} == {client.getsockname()[:2]}
            assert {batch.local(slot) for slot in range(3)} == {asked}
            assert batch.host(0)[-1] == 1
            for slot in range(2):
                batch.memory[slot * ROOM + 2 : slot * ROOM + 6] = b"back"
                batch.sizes[2 * slot + 1] = 6
            batch.send(0, 2)
            batch.route(2).send(b"later")
            assert [client.recv(100) for _ in range(3)] == [b"%d0back" % round_, b"%d1back" % round_, b"later"]
        assert batch.receive() == 0
        assert lost == [0]


def test_a_full_batch_and_the_rest():
    with bound("127.0.0.1") as sock, client_of(sock, "127.0.0.1") as client:
        batch = Datagrams(sock, [0])
        for number in range(SLOTS + 5):
            client.send(b"%03d" % number)
        assert [batch.receive(), batch.receive(), batch.receive()] == [SLOTS, 5, 0]


def test_wir_07_long_datagrams_are_cut():
    with bound("127.0.0.1") as sock, client_of(sock, "127.0.0.1") as client:
        batch = Datagrams(sock, [0])
        client.send(bytes(ROOM))
        client.send(bytes(60_000))
        assert batch.receive() == 2
        assert (batch.length(0), batch.length(1)) == (ROOM, ROOM)


def test_a_client_that_is_gone_costs_its_reply_only():
    with bound("127.0.0.1") as sock, client_of(sock, "127.0.0.1") as other:
        with client_of(sock, "127.0.0.1") as gone:
            gone.send(b"gone")
        other.send(b"here")
        batch = Datagrams(sock, [0])
        assert batch.receive() == 2
        for slot in range(2):
            batch.sizes[2 * slot + 1] = 4
        batch.send(0, 2)
        assert other.recv(100) == b"here"
        batch.route(1).send(None)


def test_a_reply_too_long_to_be_sent_is_counted_as_lost():
    with bound("127.0.0.1") as sock, client_of(sock, "127.0.0.1") as client:
        client.send(b"q")
        batch = Datagrams(sock, lost := [0])
        batch.receive()
        batch.route(0).send(bytes(70_000))
        batch.sizes[1] = 70_000
        batch.send(0, 1)
        assert lost == [2]
