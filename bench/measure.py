"""The measurements of one variant at one size, each as numbers by name; `table` puts goals beside them.

The agent is a process of its own, measured from outside: by its status socket, by /proc, and, in samples, by reading the rules themselves.
The bare tools get the same texts in a second namespace with the same rules, in turns with the agent's changes, so that both meet the same
state of the machine.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import cluster
import scratch
from msgspec import Struct
from scratch import Agent, BenchError, Place

Figures = dict[str, float]
Say = Callable[[str], None]

TURN = 10
"""So many changes of the agent, then one of the bare tool."""

SAMPLES = 3
"""So many changes are looked up in the rules themselves."""


class Task(Struct, frozen=True):
    """What is measured, and how long: changes, seconds of idleness."""

    size: cluster.Size
    variant: str
    manifests: Path
    texts: Path
    changes: int
    idle: float


def measure(task: Task, here: Place, bare: Place, say: Say) -> Figures:
    """Measure everything of one variant at one size in two empty namespaces."""
    found: Figures = {}
    say("cold start")
    with scratch.agent(here, task.manifests, task.variant) as agent:
        found["cold"] = scratch.synced_at(agent.until(scratch.in_sync)) - agent.began
        say("the kernel's own share of it")
        found["cold_kernel"] = _write(bare, task.variant, json.loads((task.texts / "full.json").read_text()))
        say(f"idle for {task.idle:g} s")
        found["idle"] = _idle(agent, task.idle)
        found["rss"], found["rss_peak"] = agent.memory()
        say(f"{task.changes} changes of one endpoint")
        found |= _changes(task, agent, here, bare)
        say("foreign flush")
        found["flush"] = _flush(agent, here, task.variant)
        found["rss_after"], found["rss_peak"] = agent.memory()
        found["packet_services"] = _packets(here, task.size)
    say("restart with unchanged state")
    with scratch.agent(here, task.manifests, task.variant) as agent:
        said = agent.until(scratch.in_sync)
        found["restart"] = scratch.synced_at(said) - agent.began
        found["restart_peak"] = agent.memory()[1]
        found["restart_writes"] = float(scratch.total(said, "apply", "total"))
    return found


def measure_one_service(manifests: Path, here: Place, variant: str) -> Figures:
    """Measure first packets with no rules at all, and with those of a single Service."""
    size = cluster.Size(1)
    found = {"packet_bare": _packet(here, [(cluster.pod_ip(0, 0), 8080)])}
    with scratch.agent(here, manifests, variant) as agent:
        agent.until(scratch.in_sync)
        found["packet_one"] = _packets(here, size)
    return found


def _write(bare: Place, variant: str, steps: list[list[str]]) -> float:
    """Give texts to the bare tools; return the seconds they took together."""
    commands = {"restore": (f"iptables-{variant}-restore", "--noflush"), "ipset": ("ipset", "restore", "-exist")}
    return sum(bare.timed(*commands[tool], text=text) for tool, text in steps)


def _idle(agent: Agent, seconds: float) -> float:
    """Return the share of one core, in percent, that the agent takes when nothing happens."""
    time.sleep(2)
    before = agent.cpu_seconds()
    time.sleep(seconds)
    return (agent.cpu_seconds() - before) / seconds * 100


def _changes(task: Task, agent: Agent, here: Place, bare: Place) -> Figures:
    """Change one endpoint after the other; the bare tool takes its turn in between.

    Each change is alone: it comes when the agent has rested after the last one for as long as that took. In a storm of changes the agent
    pauses between two writes for that time, and takes what comes meanwhile together.
    """
    found: list[float] = []
    share: list[float] = []
    texts: Iterator[list[list[str]]] = cycle(json.loads((task.texts / "one.json").read_text()))
    udp = task.size.udp()
    for number in range(task.changes):
        if found:
            time.sleep(min(1.0, found[-1]))
        service = number * 37 % task.size.services
        content = cluster.slice_manifest(service, "UDP" if service in udp else "TCP", number + 1)
        found.append(_change(agent, task.manifests / cluster.slice_file(service), content, min(found, default=0.0)))
        if number % TURN == 0:
            share.append(_write(bare, task.variant, next(texts)))
        if number % (task.changes // SAMPLES) == 0:
            _check(here, task.variant, cluster.pod_ip(service, cluster.ENDPOINTS - 1, number + 1))
    found.sort()
    return {
        "change": statistics.median(found), "change_p99": found[max(0, int(len(found) * 0.99) - 1)], "changes": float(len(found)),
        "change_kernel": statistics.median(share),
    }


def _change(agent: Agent, path: Path, content: bytes, quickest: float) -> float:
    """Replace a file; return the seconds until its rules are in the kernel.

    Nothing is asked before most of the time of the quickest change so far has passed, so that asking does not slow the agent down.
    """
    before = agent.until(scratch.in_sync)["revision"]
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    began = time.perf_counter()
    fresh.rename(path)
    time.sleep(quickest * 0.8)
    agent.until(lambda said: said["revision"] > before and scratch.in_sync(said), interval=0.002)
    return time.perf_counter() - began


def _check(here: Place, variant: str, address: str) -> None:
    """Raise unless the kernel sends connections to an address."""
    if f"--to-destination {address}:8080\n" not in here.run(f"iptables-{variant}-save", "-t", "nat"):
        raise BenchError(f"the agent says that the kernel has {address}, which is not true")


def _flush(agent: Agent, here: Place, variant: str) -> float:
    """Flush the nat table as somebody else would; return the seconds until all is there again."""
    before = scratch.total(agent.until(scratch.in_sync), "foreign", "repairedKeys")
    rules = _rules(here, variant)
    here.run(f"iptables-{variant}", "-t", "nat", "-F")
    began = time.perf_counter()
    agent.until(lambda said: scratch.total(said, "foreign", "repairedKeys") > before and scratch.in_sync(said), limit=180)
    took = time.perf_counter() - began
    if _rules(here, variant) != rules:
        raise BenchError("the agent says that it repaired the flushed table, which is not true")
    return took


def _rules(here: Place, variant: str) -> int:
    return here.run(f"iptables-{variant}-save", "-t", "nat").count("\n-A ")


def _packets(here: Place, size: cluster.Size) -> float:
    """Return the microseconds of a first packet to a Service, over Services evenly spread."""
    return _packet(here, [(cluster.cluster_ip(service), cluster.PORT) for service in size.udp()])


def _packet(here: Place, targets: list[tuple[str, int]]) -> float:
    return float(scratch.child("packets.py", [json.dumps(targets)], here.command())["microseconds"])
