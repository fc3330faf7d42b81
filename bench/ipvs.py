"""What programming IPVS costs: our encoding, our channel, and the kernel's own share, which is the same bytes sent bare.

    tools/uml --where-needed .venv/bin/python bench/ipvs.py                  1,000 x 10 into a kernel; 10,000 x 10 encoded
    tools/uml --where-needed .venv/bin/python bench/ipvs.py --services 10000 10,000 x 10 into a kernel as well

Needs root and a kernel with IPVS; everything happens in network namespaces that vanish with the process. Each figure is the best of three.
"""

import argparse
import asyncio
import ctypes
import itertools
import os
import platform
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import uvloop
from pointsman.dataplane.errors import KernelError
from pointsman.ipvs import wire
from pointsman.ipvs.channel import IpvsChannel, cuts, require
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.netlink import codec
from pointsman.routing.route import Family, Protocol
from pyroute2.ipvs import IPVS, IPVSDest, IPVSService

ENDPOINTS = 10
ENCODED = 10_000
ROUNDS = 3
BY_LIBRARY = 50
BY_IPVSADM = 1_000
"""Services that pyroute2 and ipvsadm program by their own means, to compare: many more would take minutes."""
ENCODE_BUDGET = 1.0
APPLY_BUDGET = 1.5

Pair = tuple[VirtualKey, VirtualServer] | tuple[RealKey, RealServer]


def cluster(services: int) -> list[Pair]:
    """Return so many virtual servers with their real servers."""
    found: list[Pair] = []
    for number in range(services):
        high, low = number // 250, number % 250
        key = VirtualKey(Family.IPV4, Protocol.TCP, f"10.{96 + high // 250}.{high % 250}.{low + 1}", 80)
        found.append((key, VirtualServer()))
        found += [(RealKey(key, f"10.{128 + high}.{low}.{one + 1}", 8080), RealServer()) for one in range(ENDPOINTS)]
    return found


def encoded(pairs: Iterable[Pair]) -> Iterator[bytes]:
    """Yield the requests that add them."""
    return (wire.new_virtual(key, value) if isinstance(key, VirtualKey) else wire.new_real(key, value) for key, value in pairs)  # type: ignore[arg-type]


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


def prepare(bodies: Sequence[bytes], family: int) -> list[bytes]:
    """Return whole datagrams, as the channel cuts them."""
    found = []
    for begin, end in itertools.pairwise([0, *cuts(bodies)]):
        part = bodies[begin:end]
        flags = [codec.REQUEST] * (len(part) - 1) + [codec.REQUEST | codec.ACK]
        messages = (codec.encode(family, flag, 1, body) for flag, body in zip(flags, part, strict=True))
        found.append(b"".join(messages))
    return found


def ours(bodies: Iterable[bytes]) -> float:
    """Apply through our channel; what is not encoded yet is encoded on the way."""

    async def run() -> float:
        async with await IpvsChannel.open() as channel:
            began = time.perf_counter()
            failed = await channel.apply(bodies)
            took = time.perf_counter() - began
        assert not failed, f"{len(failed)} requests failed"
        return took

    return uvloop.run(run())


def listing(pairs: Sequence[Pair]) -> float:
    """Read everything back."""

    async def run() -> float:
        async with await IpvsChannel.open() as channel:
            await channel.apply(encoded(pairs))
            began = time.perf_counter()
            count = sum(1 + len(one.reals) for one in await Ipvsadm(channel).list_all())
            took = time.perf_counter() - began
        assert count == len(pairs)
        return took

    return uvloop.run(run())


def by_library() -> float:
    """Program by pyroute2's own requests, one at a time."""
    with IPVS(use_event_loop=asyncio.SelectorEventLoop()) as library:
        began = time.perf_counter()
        for key, _ in cluster(BY_LIBRARY):
            if isinstance(key, VirtualKey):
                service = IPVSService(addr=key.address, port=key.port, protocol=6, sched_name="rr")
                library.service("add", service)
            else:
                library.dest("add", service, IPVSDest(addr=key.address, port=key.port, fwd_method=0))
        return time.perf_counter() - began


def by_ipvsadm(pairs: Sequence[Pair]) -> float:
    """Program by `ipvsadm --restore`."""
    lines = [
        f"-A -t {key.address}:80 -s rr\n"
        if isinstance(key, VirtualKey)
        else f"-a -t {key.virtual.address}:80 -r {key.address}:8080 -m -w 1\n"
        for key, _ in pairs
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
    encoding = min(timed(lambda: deque(encoded(many), maxlen=0)) for _ in range(ROUNDS))
    pairs = cluster(services)
    ready = list(encoded(pairs))
    prepared = prepare(ready, family)
    kernel, sent, whole = best(lambda: bare(prepared), lambda: ours(ready), lambda: ours(encoded(pairs)))
    compared = cluster(min(services, BY_IPVSADM))
    reading, restoring, library = best(lambda: listing(pairs), lambda: by_ipvsadm(compared), by_library)
    rows = [
        (f"encode {ENCODED:,} x {ENDPOINTS}", encoding, f"budget {ENCODE_BUDGET:g} s"),
        (f"the kernel alone, {services:,} x {ENDPOINTS}: prepared bytes in {len(prepared)} datagrams", kernel, ""),
        ("apply the same", sent, f"{sent / kernel:.2f} of the kernel alone, budget {APPLY_BUDGET:g}"),
        ("encode and apply the same", whole, f"{whole / kernel:.2f} of the kernel alone"),
        ("read it all back", reading, ""),
        (f"ipvsadm --restore of {min(services, BY_IPVSADM):,} x {ENDPOINTS}", restoring, ""),
        (f"pyroute2's own requests, {BY_LIBRARY} x {ENDPOINTS}", library, ""),
    ]
    print(f"IPVS on Linux {platform.release()}, Python {platform.python_version()}, best of {ROUNDS}")
    for what, seconds, remark in rows:
        print(f"  {seconds:8.3f} s  {what}{f' ({remark})' if remark else ''}")
    return int(encoding > ENCODE_BUDGET or sent > APPLY_BUDGET * kernel)


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
