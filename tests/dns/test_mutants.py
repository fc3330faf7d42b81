"""Broken messages, some ten thousand each time: no crash, none slow, nothing that grows. `MUTANTS=1000000` asks for more."""

import os
import socket
import time

import dns.exception
import dns.message
from fakes.dns_chain import desk_of
from fakes.dns_cluster import endpoint, endpoint_slice, outcome, service, snapshot_of
from fakes.dns_mutants import mutants
from fakes.dns_process import Running
from pointsman.dns.journal import Journal

NUMBER = int(os.environ.get("MUTANTS", "20000"))
SLOW = 0.005
OBJECTS = (service("web", "10.96.0.1"), service("db", "None"), endpoint_slice("db", endpoint("10.0.0.1", "db-0")))


def nobody(reply):
    """Take no reply."""


def answered(desk, message):
    """Return the reply to a message as `udp` would find it, and the processor time that it took."""
    began = time.thread_time()
    key = message[2:]
    hit = desk.hot.entries.get(key)
    if hit is not None and (hit.until > time.monotonic() or desk.hot.turn(key, hit, time.monotonic()) is not None):
        reply = message[:2] + hit.reply
    else:
        denial = desk.denials.answer(key)
        reply = message[:2] + denial if denial is not None else desk.take(message, ("10.0.0.1", 1), ("10.96.0.10", 53), nobody, udp=True)
    return reply, time.thread_time() - began


async def test_no_message_breaks_delays_or_fills_the_server():
    desk, _, _, tally = desk_of(*OBJECTS, room=1 << 20)
    for message in mutants(NUMBER):
        reply, took = answered(desk, message)
        if took > SLOW:  # a pause of the machine is not the message's: it would have to be slow each time
            assert min(answered(desk, message)[1] for _ in range(5)) < SLOW, message.hex()
        if reply is None:
            continue
        assert len(reply) <= 65535
        assert reply[:2] == message[:2]
        assert reply[2] & 0x80, message.hex()
        assert len(message) >= 12, message.hex()
        assert not message[2] & 0x80, message.hex()
    assert tally.cell("coredns_panics_total") == [0]
    assert not desk.waiting
    assert len(desk.hot.entries) < (1 << 20) / 600
    assert sum(1 for _ in tally.dump()) < 500


async def test_every_reply_can_be_read():
    desk, _, _, _ = desk_of(*OBJECTS)
    for message in mutants(min(NUMBER, 3000), seed=2):
        reply, _ = answered(desk, message)
        if reply is not None:
            try:
                assert dns.message.from_wire(reply).id == int.from_bytes(message[:2], "big")
            except dns.exception.DNSException as error:  # the client's own name may be one that dnspython does not read
                raise AssertionError(message.hex()) from error


def test_the_process_lives_through_them_on_udp_and_tcp(tmp_path):
    with Running(tmp_path) as running:
        running.tell(*Journal().whole(snapshot_of(*OBJECTS), 1.0))
        running.hear()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for message in mutants(min(NUMBER, 5000), seed=3):
                client.sendto(message[:60_000], ("127.0.0.1", running.port))
        for seed in range(5):
            with socket.create_connection(("127.0.0.1", running.port)) as client:
                frames = b"".join(len(message).to_bytes(2, "big") + message for message in mutants(100, seed=10 + seed))
                client.sendall(frames)
                client.sendall(b"\x00\x40" + b"cut")
        assert outcome(running.ask("web.shop.svc.cluster.local")) == ["A 10.96.0.1"]
        assert outcome(running.ask("web.shop.svc.cluster.local", tcp=True)) == ["A 10.96.0.1"]
        samples = {sample.metric: sample.values[0] for sample in running.told("stats").samples}
        assert samples["coredns_panics_total"] == 0
