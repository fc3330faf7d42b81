"""What health, ready and prometheus of a Corefile serve, beside the resolver: a scrape must not delay an answer.

/health says that the resolver works (OBS-30), /ready that it knows the cluster, or who does not (OBS-31), /metrics what the workers
counted. Addresses are CoreDNS's spelling (`:8080`, `localhost:9153`). While the process is on its way out, /health still answers and
/ready does not.

`service` runs them and makes them anew when the Corefile names other addresses.
"""

import asyncio
import os
import platform
import resource
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from pointsman.dns.corefile.load import Corefile
from pointsman.dns.corefile.options import HealthOptions, PrometheusOptions, ReadyOptions
from pointsman.dns.tally import Sample
from pointsman.proxy import version
from pointsman.proxy.dns.text import render
from pointsman.proxy.servers import Answer, Question, Server

METRICS_TYPE = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "X-Content-Type-Options": "nosniff"}


class State(Struct, frozen=True):
    """What is asked for: whether workers answer, who is not ready, whether the end is near, and all counters."""

    alive: Callable[[], bool]
    unready: Callable[[], Sequence[str]]
    leaving: Callable[[], bool]
    samples: Callable[[], Awaitable[Sequence[Sample]]]


def address(text: str, default_port: int) -> str:
    """Return an address in CoreDNS's spelling as `ip:port`; ValueError if it names a host that is no address."""
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        host, port = text, str(default_port)
    host = {"": "[::]", "localhost": "127.0.0.1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def servers(corefile: Corefile, state: State) -> tuple[Server, ...]:
    """Return the servers that a Corefile asks for; the same address twice is one server."""
    found: dict[str, Server] = {}

    def add(name: str, where: str, path: str, answering: Callable[[Question], Answer | Awaitable[Answer]]) -> None:
        before = found.get(where)
        found[where] = Server(before.name if before else name, where, {**(before.paths if before else {}), path: answering})

    for each in corefile.all(HealthOptions):
        add("DNS health", address(each.address, 8080), "/health", lambda _: _health(state))
    for one in corefile.all(ReadyOptions):
        add("DNS readiness", address(one.address, 8181), "/ready", lambda _: _ready(state))
    for metrics in corefile.all(PrometheusOptions):
        add("DNS metrics", address(metrics.address, 9153), "/metrics", lambda _: _metrics(state))
    return tuple(found.values())


def _health(state: State) -> Answer:
    return Answer(200, b"OK") if state.alive() else Answer(503, b"no resolver answers")


def _ready(state: State) -> Answer:
    if state.leaving():
        return Answer(503, b"Shutting down")
    missing = sorted(state.unready())
    return Answer(503, ",".join(missing).encode()) if missing else Answer(200, b"OK")


async def _metrics(state: State) -> Answer:
    samples = await state.samples()
    return Answer(200, await asyncio.to_thread(render, samples), METRICS_TYPE)


def build_info() -> Sample:
    """Return the sample that tells the version (OBS-02)."""
    return Sample("coredns_build_info", (f"pointsman-{version.ours()}", "", f"python{platform.python_version()}"), (1.0,))


def process_samples(pid: int) -> Iterator[Sample]:
    """Yield what the kernel tells of a resolver's process (OBS-24); nothing of one that is gone."""
    with suppress(OSError, IndexError, ValueError):
        place = Path("/proc") / str(pid)
        fields = (place / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        booted = time.time() - float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        yield Sample("process_cpu_seconds_total", (), ((int(fields[11]) + int(fields[12])) / ticks,))
        yield Sample("process_resident_memory_bytes", (), (float(int(fields[21]) * page),))
        yield Sample("process_virtual_memory_bytes", (), (float(fields[20]),))
        yield Sample("process_start_time_seconds", (), (round(booted + int(fields[19]) / ticks, 2),))
        yield Sample("process_open_fds", (), (float(len(list((place / "fd").iterdir()))),))
        yield Sample("process_max_fds", (), (float(resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]),))
