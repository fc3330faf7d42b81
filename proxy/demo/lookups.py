"""Names in the demonstration: what a pod gets when it looks names up as its C library does, and whether a query is lost in a restart.

A pod of the first node asks that node's own resolver for a Service by its short names, and for a name that is none of the cluster's, which
a server on the node answers in the place of the internet. Then it asks on and on while the resolver is told to end and the next one starts
on the same sockets; every query is to be answered. `session` calls this, `show` prints it.
"""

import asyncio
import os
import signal
import socket
import zlib
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from msgspec import Struct
from pointsman.dns import handover, names
from pointsman.dns.decode import decode
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_servers import make_roomy
from pointsman.proxy.dns.defaults import ADDRESSES
from pointsman.proxy.dns.questions import candidates
from pointsman.routing.route import Family

SERVER: Final = (ADDRESSES[0], 53)
UPSTREAM: Final = ("127.0.0.1", 5300)
OUTSIDE: Final = "198.51.100.7"
NAMES: Final = ("web", "web.shop", "web.shop.svc.cluster.local", "www.example.com")
DOMAIN: Final = "cluster.local."
COREFILE: Final = f"""\
.:53 {{
    errors
    kubernetes {DOMAIN}
    forward . {UPSTREAM[0]}:{UPSTREAM[1]}
    cache 30
    loadbalance
}}
"""
PATIENCE: Final = 30.0
_ASKED, _RATE, _TICK, _AGAIN = 3000, 1000, 0.01, 1.0
_NXDOMAIN: Final = 3


class Lookups(Struct, frozen=True, rename="camel"):
    """What each name gave (addresses, after how many queries), and of the queries during a restart how many were lost."""

    found: dict[str, tuple[str, ...]]
    steps: dict[str, int]
    asked: int
    lost: int

    @property
    def passed(self) -> bool:
        """Return whether every name was found and no query lost."""
        return all(self.found.values()) and not self.lost


async def measure(lab: Laboratory, node: str, pod: str) -> Lookups:
    """Look everything up from a pod of a node, and let the node's resolver be followed by the next one meanwhile."""
    loop = asyncio.get_running_loop()
    outside = lab.socket(node, Family.IPV4, socket.SOCK_DGRAM)
    outside.bind(UPSTREAM)
    loop.add_reader(outside, _answer, outside)
    with lab.socket(pod, Family.IPV4, socket.SOCK_DGRAM) as client:
        make_roomy(client)  # what waited for the next resolver is answered all at once
        try:
            found: dict[str, tuple[str, ...]] = {}
            steps: dict[str, int] = {}
            for name in NAMES:
                for step, candidate in enumerate(candidates(name, "shop", DOMAIN), 1):
                    reply = await _asked(client, candidate)
                    if reply is not None and reply[3] & 15 != _NXDOMAIN:
                        found[name], steps[name] = _addresses(reply), step
                        break
                else:
                    found[name] = ()
            lost = await _restart(lab, node, client)
        finally:
            loop.remove_reader(outside)
            outside.close()
    return Lookups(found, steps, _ASKED, lost)


def end(lab: Laboratory, node: str) -> None:
    """End the resolvers that an agent has left for a successor; none comes."""

    def told() -> None:
        for taken in handover.take():
            taken.close()
            taken.end()

    lab.inside(node, told)


async def _restart(lab: Laboratory, node: str, client: socket.socket) -> int:
    """Ask steadily while the resolver ends and the next one starts; return how many queries have no answer."""
    loop, waiting = asyncio.get_running_loop(), set[int]()

    def hear() -> None:
        with suppress(BlockingIOError, ConnectionError):
            while True:
                waiting.discard(int.from_bytes(client.recv(4096)[:2], "big"))

    loop.add_reader(client, hear)
    try:
        question = _query(0, f"web.shop.svc.{DOMAIN}")[2:]
        for number in range(1, _ASKED + 1):
            if number == _ASKED // 4:
                for pid in lab.inside(node, _resolvers):
                    os.kill(pid, signal.SIGTERM)
            waiting.add(number)
            with suppress(ConnectionError):
                client.sendto(number.to_bytes(2, "big") + question, SERVER)
            if number % round(_RATE * _TICK) == 0:
                await asyncio.sleep(_TICK)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while waiting:  # noqa: ASYNC110 - the reader empties it
                    await asyncio.sleep(_TICK)
    finally:
        loop.remove_reader(client)
    return len(waiting)


def _resolvers() -> list[int]:
    """Return the resolvers of this thread's network namespace."""
    here, found = Path("/proc/thread-self/ns/net").readlink(), []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            ours = entry.name.isdigit() and b"pointsman.dns.resolver" in (entry / "cmdline").read_bytes()
            if ours and (entry / "ns/net").readlink() == here:
                found.append(int(entry.name))
    return found


async def _asked(client: socket.socket, name: str) -> bytes | None:
    """Return the reply to a question; it is asked again, as C libraries do."""
    loop, query = asyncio.get_running_loop(), _query(zlib.crc32(name.encode()) & 0xFFFF, name)
    deadline = loop.time() + PATIENCE
    while loop.time() < deadline:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_AGAIN):
                client.sendto(query, SERVER)
                while (reply := await loop.sock_recv(client, 4096))[:2] != query[:2]:
                    pass
                return reply
    return None


def _query(number: int, name: str) -> bytes:
    return number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + names.wire(name) + b"\0\1\0\1"


def _addresses(reply: bytes) -> tuple[str, ...]:
    return tuple(sorted(str(ip_address(record.rdata)) for record in decode(reply).reply.answer if record.rtype == 1))


def _answer(outside: socket.socket) -> None:
    """Answer every question for addresses with the one that stands for the internet."""
    with suppress(BlockingIOError):
        query, peer = outside.recvfrom(4096)
        question = query[12 : query.index(b"\0", 12) + 5]
        wanted = question[-4:] == b"\0\1\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + ip_address(OUTSIDE).packed if wanted else b""
        outside.sendto(query[:2] + b"\x81\x80\0\1" + (b"\0\1" if wanted else b"\0\0") + b"\0\0\0\0" + question + answer, peer)
