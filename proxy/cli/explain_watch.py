"""`pointsman explain --watch`: real packets of one pair on their way, live; no packet is sent by it.

Where the rules are those of nftables (also through iptables-nft), the kernel traces packets itself: a table of ours marks the packets of
this pair, `nft monitor trace` tells every rule that they meet, and the table goes with the command. Where they are legacy rules, the kernel
can only write traces to its log, which is none of a namespace's; then the counters of the deciding rules are followed instead, and said so.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import click
from pointsman.dataplane.trace import Evidence
from pointsman.iptables.run import find_program
from pointsman.proxy.explaining import explain, understand
from pointsman.proxy.inspection import inspector
from pointsman.proxy.known import Known
from pointsman.proxy.picture import Picture
from pointsman.routing.packet import Packet
from pointsman.routing.route import Family, Protocol

PERIOD = 1.0
"""Seconds between two looks at counters."""

_TRACED = re.compile(r"^trace id (\S+) (\S+) (\S+) (\S+) (packet:|rule|verdict|policy)(.*)$")


def follow(known: Known, source: str, target: str, protocol: Protocol, family: Family | None) -> int:
    """Follow packets until interrupted, or told to end; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # a terminal that goes must not leave a table that traces
        signal.signal(number, signal.default_int_handler)
    packet, variant = asyncio.run(_asked(known.picture, source, target, protocol, family))
    program = find_program("nft")
    if program and variant == "nft" and _traceable(program, packet):
        return _by_trace(program, packet)
    click.echo("this kernel's rules are not nftables' or it does not trace: following the counters of the rules that decide", err=True)
    return _by_counters(known, source, target, protocol, family)


async def _asked(seen: Picture, source: str, target: str, protocol: Protocol, family: Family | None) -> tuple[Packet, str]:
    """Return the packet that is meant, and the variant of the rules that it meets."""
    asked = await understand(seen, source, target, protocol, family)
    return asked.packet, (await inspector(seen.mode, seen.config, seen.variant)).variant


def script(packet: Packet, table: str) -> str:
    """Return the table that marks packets of a pair for tracing; it changes nothing else."""
    family = "ip6" if ":" in packet.destination else "ip"
    match = f"{family} saddr {packet.source} {family} daddr {packet.destination} {packet.protocol.lower} dport {packet.port}"
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -350; {match} meta nftrace set 1; }}\n" for hook in ("prerouting", "output")
    )
    return f"table {family} {table} {{\n{chains}}}\n"


def told(line: str) -> str:
    """Return one line of `nft monitor trace` in short, empty for what says nothing."""
    match = _TRACED.match(line.strip())
    if match is None:
        return ""
    number, family, table, chain, kind, rest = match.groups()
    if "pointsman_trace" in table:
        return ""
    return f"{number}  {family} {table} {chain}  {kind.rstrip(':')}{rest}"


def _table() -> str:
    return f"pointsman_trace_{os.getpid()}"


def _traceable(program: str, packet: Packet) -> bool:
    text = script(packet, _table())
    return subprocess.run([program, "-c", "-f", "-"], input=text, text=True, capture_output=True, check=False).returncode == 0


def _by_trace(program: str, packet: Packet) -> int:
    family = "ip6" if ":" in packet.destination else "ip"
    with subprocess.Popen([program, "monitor", "trace"], stdout=subprocess.PIPE, text=True) as monitor:
        try:
            subprocess.run([program, "-f", "-"], input=script(packet, _table()), text=True, check=True)
            pair = f"{packet.protocol.lower} {packet.source} → {packet.destination} port {packet.port}"
            click.echo(f"following {pair}; Ctrl-C ends it", err=True)
            assert monitor.stdout is not None
            for line in filter(None, map(told, monitor.stdout)):
                click.echo(line)
                sys.stdout.flush()
        except KeyboardInterrupt:
            return 0
        finally:
            subprocess.run([program, "delete", "table", family, _table()], check=False, capture_output=True)
            monitor.terminate()
    return 0


def _by_counters(known: Known, source: str, target: str, protocol: Protocol, family: Family | None) -> int:
    last: dict[tuple[str, str], int] = {}
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            found = asyncio.run(explain(known, source, target, protocol, family))
            evidence = [one for way in found.kernel.ways for one in way.evidence]
            for line in moved(evidence, last):
                click.echo(f"{time.strftime('%H:%M:%S')}  {line}")
            sys.stdout.flush()
            time.sleep(PERIOD)
    return 0


def moved(evidence: Iterable[Evidence], last: dict[tuple[str, str], int]) -> Iterator[str]:
    """Yield the objects whose counters have grown since the last look, which `last` remembers."""
    for one in dict.fromkeys(evidence):
        key, count = (one.where, one.text), one.packets or 0
        before = last.get(key)
        last[key] = count
        if before is not None and count > before:
            yield f"+{count - before} packets  {one.where}: {one.text}"
