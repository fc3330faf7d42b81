"""What programming IPVS costs: our encoding, our channel, and the kernel's own share, which is the same bytes sent bare.

    tools/uml --where-needed .venv/bin/python bench/ipvs.py                  1,000 x 10 into a kernel; 10,000 x 10 encoded
    tools/uml --where-needed .venv/bin/python bench/ipvs.py --services 10000 10,000 x 10 into a kernel as well

Needs root and a kernel with IPVS; everything happens in network namespaces that vanish with the process. Each figure is the best of five.
"""

import argparse
import asyncio
import ctypes
import os
import platform
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import uvloop
from pointsman.dataplane.contract import ABSENT, Change
from pointsman.dataplane.errors import KernelError
from pointsman.ipvs import wire
from pointsman.ipvs.channel import IpvsChannel, require
from pointsman.ipvs.datagrams import MESSAGES, Request, Writer
from pointsman.ipvs.drain import Drain
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.keys import Key, Value
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.ipvs.servers import Servers
from pointsman.netlink import codec
from pointsman.routing.route import Family, Protocol
from pyroute2.ipvs import IPVS, IPVSDest, IPVSService

ENDPOINTS = 10
ENCODED = 10_000
ROUNDS = 5
BY_LIBRARY = 50
BY_IPVSADM = 1_000
"""Services that pyroute2 and ipvsadm program by their own means, to compare: many more would take minutes."""
ENCODE_BUDGET = 1.0
APPLY_BUDGET = 1.5

PORTS = (80, 443, 8080, 9090)
VIRTUAL, REAL = VirtualServer(), RealServer()


def cluster(services: int) -> list[Request]:
    """Return the requests for so many virtual servers with their real servers, in the order of a plan."""
    keys = [
        VirtualKey(Family.IPV4, Protocol.TCP, f"10.{96 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}", PORTS[number % 4])
        for number in range(services)
    ]
    found: list[Request] = [(wire.NEW_VIRTUAL, key, VIRTUAL) for key in keys]
    found += [
        (wire.NEW_REAL, RealKey(key, f"10.{128 + number // 250}.{number % 250}.{one + 1}", 8080), REAL)
        for number, key in enumerate(keys)
        for one in range(ENDPOINTS)
    ]
    return found


def encoded(requests: Sequence[Request], family: int) -> Iterator[bytes]:
    """Yield the datagrams that carry them."""
    writer = Writer(family)
    return (writer.write(requests[start : start + MESSAGES], 1) for start in range(0, len(requests), MESSAGES))


def fresh() -> None:
    """Put this process into a new network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # without any address the kernel takes every real server for a broadcast


def best(*measures: Callable[[], float]) -> list[float]:
    """Return the best of some rounds for each, taking turns, each in a namespace of its own."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(ROUNDS):
        for seconds, measure in zip(found, measures, strict=True):
            fresh()
            seconds.append(measure())
    return [min(seconds) for seconds in found]


def bare(prepared: Sequence[bytes]) -> float:
    """Send datagrams that are ready, and read their acknowledgements: the kernel's own cost."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as opened:
        opened.bind((0, 0))
        poll = select.poll()
        poll.register(opened, select.POLLIN)
        began = time.perf_counter()
        for datagram in prepared:
            opened.send(datagram)
            poll.poll(10_000)
            for message in codec.messages(opened.recv(65536)):
                if number := codec.error_number(message):
                    raise OSError(number, os.strerror(number))
        return time.perf_counter() - began


def ours(requests: Sequence[Request]) -> float:
    """Encode and apply through our channel."""

    async def run() -> float:
        async with await IpvsChannel.open() as channel:
            began = time.perf_counter()
            failed = await channel.apply(requests)
            took = time.perf_counter() - began
        assert not failed, f"{len(failed)} requests failed"
        return took

    return uvloop.run(run())


def planned(requests: Sequence[Request]) -> float:
    """Do what the agent does with a plan of the same: know what drains, choose between adding and editing, encode and apply."""
    changes: list[Change[Key, Value]] = [Change(key, ABSENT, value) for _, key, value in requests if value is not None]

    async def run() -> float:
        servers = Servers(Family.IPV4, Drain(900.0))
        await servers.channel()
        began = time.perf_counter()
        failed = await servers.add(changes)
        took = time.perf_counter() - began
        await servers.close()
        assert not failed, f"{len(failed)} servers failed"
        return took

    return uvloop.run(run())


def observing(requests: Sequence[Request]) -> float:
    """Read everything back, as the agent observes it."""

    async def run() -> float:
        servers = Servers(Family.IPV4, Drain(900.0))
        await (await servers.channel()).apply(requests)
        began = time.perf_counter()
        seen = await servers.observe(lambda _: True)
        took = time.perf_counter() - began
        await servers.close()
        assert seen == {key: value for _, key, value in requests}
        return took

    return uvloop.run(run())


def listing(requests: Sequence[Request]) -> float:
    """Read everything back with its counters, as `pointsman ipvs stats` does."""

    async def run() -> float:
        async with await IpvsChannel.open() as channel:
            await channel.apply(requests)
            began = time.perf_counter()
            count = sum(1 + len(one.reals) for one in await Ipvsadm(channel).list_all())
            took = time.perf_counter() - began
        assert count == len(requests)
        return took

    return uvloop.run(run())


def by_library() -> float:
    """Program by pyroute2's own requests, one at a time."""
    with IPVS(use_event_loop=asyncio.SelectorEventLoop()) as library:
        began = time.perf_counter()
        for _, key, _ in cluster(BY_LIBRARY):
            if isinstance(key, VirtualKey):
                service = IPVSService(addr=key.address, port=key.port, protocol=6, sched_name="rr")
                library.service("add", service)
            else:
                library.dest("add", service, IPVSDest(addr=key.address, port=key.port, fwd_method=0))
        return time.perf_counter() - began


def by_ipvsadm(requests: Sequence[Request]) -> float:
    """Program by `ipvsadm --restore`."""
    lines = [
        f"-A -t {key.address}:{key.port} -s rr\n"
        if isinstance(key, VirtualKey)
        else f"-a -t {key.virtual.address}:{key.virtual.port} -r {key.address}:{key.port} -m -w 1\n"
        for _, key, _ in requests
    ]
    began = time.perf_counter()
    subprocess.run(["ipvsadm", "--restore"], input="".join(lines), text=True, check=True)
    return time.perf_counter() - began


def main() -> int:
    """Measure and print; status 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(prog="bench/ipvs.py", description="Measure programming IPVS (root, a kernel with IPVS).")
    parser.add_argument("--services", type=int, default=1_000, help="Services to program, 10 endpoints each")
    services = parser.parse_args().services
    try:
        family = asyncio.run(require())
    except KernelError as error:
        print(f"bench/ipvs.py: {error}; or tools/uml .venv/bin/python bench/ipvs.py", file=sys.stderr)
        return 1
    many = cluster(ENCODED)
    encoding = min(timed(lambda: deque(encoded(many, family), maxlen=1)) for _ in range(ROUNDS))
    requests = cluster(services)
    prepared = list(encoded(requests, family))
    kernel, whole, daemon = best(lambda: bare(prepared), lambda: ours(requests), lambda: planned(requests))
    compared = cluster(min(services, BY_IPVSADM))
    observed, listed = best(lambda: observing(requests), lambda: listing(requests))
    restoring, library = best(lambda: by_ipvsadm(compared), by_library)
    rows = [
        (f"encode {ENCODED:,} x {ENDPOINTS}", encoding, f"budget {ENCODE_BUDGET:g} s"),
        (f"the kernel alone, {services:,} x {ENDPOINTS}: the same bytes, ready, in {len(prepared)} datagrams", kernel, ""),
        ("encode and apply the same", whole, f"{whole / kernel:.2f} of the kernel alone, budget {APPLY_BUDGET:g}"),
        ("the same from a plan, as the agent does it", daemon, f"{daemon / kernel:.2f} of the kernel alone"),
        ("observe it all", observed, ""),
        ("read it all back with its counters", listed, ""),
        (f"ipvsadm --restore of {min(services, BY_IPVSADM):,} x {ENDPOINTS}", restoring, ""),
        (f"pyroute2's own requests, {BY_LIBRARY} x {ENDPOINTS}", library, ""),
    ]
    print(f"IPVS on Linux {platform.release()}, Python {platform.python_version()}, best of {ROUNDS}")
    for what, seconds, remark in rows:
        print(f"  {seconds:8.3f} s  {what}{f' ({remark})' if remark else ''}")
    return int(encoding > ENCODE_BUDGET or whole > APPLY_BUDGET * kernel)


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
