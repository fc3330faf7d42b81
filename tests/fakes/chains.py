"""Chains for tests: queries, replies, a process around them, and upstreams that answer as they are told."""

import asyncio
import random
import socket

import dns.flags
import dns.message
import dns.rrset
from fakes.corefiles import corefile
from pointsman.dns import names
from pointsman.dns.catalog import Catalog
from pointsman.dns.plugins.link import Surroundings, Where
from pointsman.dns.question import IN, RD, Edns, Query
from pointsman.dns.reply import Record, Reply
from pointsman.dns.site import Site
from pointsman.dns.tally import Tally

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV = 1, 2, 5, 6, 12, 15, 16, 28, 33


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def query(name, qtype=A, *, flags=RD, **more):
    """Return a query by its name as text."""
    wire = names.wire(name)
    more.setdefault("client", ("192.0.2.77", 40000))
    return Query(1, flags, wire, wire.lower(), qtype, more.pop("qclass", IN), **more)


def edns(size=1232, *, do=False, options=b""):
    """Return an OPT."""
    return Edns(size, 0x8000 if do else 0, options)


def record(owner, rtype, ttl, rdata):
    """Return a record; the value of CNAME, NS and PTR is a name as text, of A and AAAA packed bytes."""
    return Record(names.wire(owner), rtype, ttl, names.wire(rdata) if isinstance(rdata, str) else rdata)


def soa(zone="example.org", ttl=60, minimum=60):
    """Return a SOA record."""
    return record(zone, SOA, ttl, names.wire("ns." + zone) + names.wire("h." + zone) + b"\0" * 16 + minimum.to_bytes(4, "big"))


class Said:
    """Log lines."""

    def __init__(self):
        self.lines = []

    def __call__(self, level, text):
        self.lines.append((level, text))

    def text(self):
        return "\n".join(f"{level}: {text}" for level, text in self.lines)


def around(**more):
    """Return a process around chains, with a clock of its own."""
    more.setdefault("clock", Clock())
    more.setdefault("tell", Said())
    more.setdefault("hostname", "node-7")
    more.setdefault("version", "1")
    return Surroundings(tally=Tally(), catalog=more.pop("catalog", Catalog()), dice=random.Random(7), **more)


def counted(surroundings, metric, *labels):
    """Return a counter's sum over all label values that begin with these."""
    return sum(one.values[0] for one in surroundings.tally.dump() if one.metric == metric and one.labels[: len(labels)] == labels)


class Next:
    """What follows a plugin: answers by a function or a fixed reply, and remembers what it was asked."""

    def __init__(self, reply=None):
        self.reply, self.asked = reply if reply is not None else Reply(rcode=3), []

    async def __call__(self, asked):
        self.asked.append(asked)
        return self.reply(asked) if callable(self.reply) else self.reply


def linked(plugin, following=None, everything=None):
    """Return a plugin's responder, and who follows it."""
    behind = following if isinstance(following, Next) else Next(following)
    return plugin.link(behind, Where("dns://:53", everything or behind)), behind


async def answers(text, asked, **more):
    """Return the reply of a Corefile's chain on port 53 to one query."""
    site = Site(corefile(text), around(**more))
    return await site.chain("", 53).answer(asked)


def values(reply):
    """Return the answer as (owner text, type, ttl, rdata)."""
    return [(names.text(one.owner), one.rtype, one.ttl, one.rdata) for one in reply.answer]


async def until(so):
    """Wait until something is so, at most a minute."""
    async with asyncio.timeout(60):
        while not so():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


class Upstream(asyncio.DatagramProtocol):
    """A DNS server on loopback, UDP and TCP on one port. `say(message, transport)` gives the replies (bytes) to one question."""

    def __init__(self, say):
        self.say, self.asked, self.connections, self.ports = say, [], 0, set()
        self.transport = self.server = None
        self.close_after = None
        self.open = {}

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        while self.transport is None:
            self.server = await asyncio.start_server(self._stream, "127.0.0.1", 0)
            self.port = self.server.sockets[0].getsockname()[1]
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind(("127.0.0.1", self.port))  # uvloop leaves a transport open that it cannot bind
            except OSError:
                sock.close()
                self.server.close()
                continue
            self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
        return self

    async def __aexit__(self, *_):
        self.transport.close()
        self.server.close()
        for writer in self.open.values():
            writer.transport.abort()
        await asyncio.gather(*self.open, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # the loop closes sockets in its next round

    def datagram_received(self, data, addr):
        self.ports.add(addr[1])
        for reply in self._replies(data, "udp"):
            self.transport.sendto(reply, addr)

    def _replies(self, data, transport):
        message = dns.message.from_wire(data)
        self.asked.append((transport, message))
        found = self.say(message, transport)
        return [
            one if isinstance(one, bytes) else one.to_wire(max_size=65535) for one in (found if isinstance(found, list) else [found]) if one
        ]

    async def _stream(self, reader, writer):
        self.connections += 1
        self.open[asyncio.current_task()] = writer
        served = 0
        try:
            while self.close_after is None or served < self.close_after:
                size = int.from_bytes(await reader.readexactly(2), "big")
                for reply in self._replies(await reader.readexactly(size), "tcp"):
                    writer.write(len(reply).to_bytes(2, "big") + reply)
                served += 1
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def address(text="192.0.2.1", ttl=300, flags=dns.flags.RA):
    """Make a `say` that gives everybody this address."""

    def say(message, _transport):
        reply = dns.message.make_response(message)
        reply.flags |= flags
        question = message.question[0]
        if question.rdtype == 1:
            reply.answer.append(dns.rrset.from_text(question.name, ttl, "IN", "A", text))
        return reply

    return say
