"""What counters and settings of connection tracking mean, and what to do about them. Pure.

A full table drops new connections on the whole node, silently (pain 13), so it is told from 80 % on, with who fills it. A counter that is
not zero is named with its usual cause (pain 15). Settings are compared with what the agent is configured to make of them, and judged by
what they do to Services. `conntrack` prints this.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct
from pointsman.conntrack.kernel import CpuCounters, Fill, summed
from pointsman.proxy.report import SCHEMA

FULL: float = 0.8
"""From this share on a table counts as nearly full."""
LONG_ESTABLISHED = 432_000
"""The kernel's own timeout of established TCP connections, five days."""

_COUNTERS = {
    "drop": "packets were dropped because the table was full, or an entry could not be made",
    "early_drop": "older entries were given up so that new ones had room: the table is, or was, full",
    "insert_failed": (
        "two packets or two ways of one client collided after translation and one was dropped: often A and AAAA lookups from one socket,"
        " or one local port used both to a Service and to its pod"
    ),
    "clash_resolve": "packets of one socket were tracked at the same time; the kernel resolved it, nothing was lost",
    "invalid": "packets belonged to no connection, or were out of its window; SEM-70 drops such when forwarded",
    "chain_too_long": "hash chains were too long, so packets were dropped: the hash table is too small for as many entries",
}


class Advice(Struct, frozen=True):
    """Something to know: `level` is ok, warn or bad; what, why, and the command that changes it (empty = none)."""

    level: str
    text: str
    why: str = ""
    fix: str = ""


class StatsReport(Struct, frozen=True, rename="camel"):
    """How full the table is, what each CPU counted, the sums, and what that means."""

    schema: str
    entries: int
    limit: int
    cpus: tuple[CpuCounters, ...]
    sums: Mapping[str, int]
    advice: tuple[Advice, ...]


class Setting(Struct, frozen=True, rename="camel"):
    """A setting: its value, what the agent is configured to make it (None = it leaves it alone), and a remark."""

    name: str
    value: int | None
    wanted: int | None
    drifted: bool
    remark: str = ""
    fix: str = ""


class SysctlReport(Struct, frozen=True, rename="camel"):
    """All settings that matter to Services."""

    schema: str
    settings: tuple[Setting, ...]


def stats(fill: Fill, cpus: tuple[CpuCounters, ...], limit: int) -> StatsReport:
    """Return the document; `limit` stands in where the kernel does not tell one with the count."""
    sums = summed(cpus)
    most = fill.most or limit
    return StatsReport(SCHEMA, fill.count, most, cpus, sums, (*_fullness(fill.count, most), *_counted(sums)))


def _fullness(count: int, most: int) -> Iterator[Advice]:
    if not most:
        yield Advice("ok", f"{count:,} entries; the number is not limited")
        return
    share = count / most
    text = f"{count:,} of {most:,} entries ({share:.0%})"
    if share < FULL:
        yield Advice("ok", text)
        return
    why = "a full table drops new connections on the whole node; `pointsman conntrack top` names who fills it"
    fix = f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}; for good: --conntrack-max-per-core or --conntrack-min"
    yield Advice("bad" if share >= 0.95 else "warn", text, why, fix)


def _counted(sums: Mapping[str, int]) -> Iterator[Advice]:
    for name, why in _COUNTERS.items():
        if sums.get(name):
            level = "ok" if name in {"clash_resolve", "invalid"} else "warn"
            yield Advice(level, f"{name}: {sums[name]:,} since the counters began", why, _FIXES.get(name, ""))


_FIXES = {
    "insert_failed": "let clients use one socket per lookup (resolv.conf: options single-request-reopen), or a node-local resolver",
    "chain_too_long": "echo BUCKETS > /sys/module/nf_conntrack/parameters/hashsize, a quarter of nf_conntrack_max",
}


def sysctls(values: Mapping[str, int | None], wanted: Mapping[str, int]) -> SysctlReport:
    """Return settings by their path below /proc/sys, with what is wanted of them and what they mean."""
    found = []
    for path, value in values.items():
        asked = wanted.get(path)
        drifted = asked is not None and value is not None and value != asked
        name = path.replace("/", ".")
        remark, fix = _remark(name, value, values)
        if drifted:
            remark, fix = f"the agent is configured to make it {asked}", f"sysctl -w {name}={asked}"
        elif value is None:
            remark, fix = "this kernel does not have it (is nf_conntrack loaded?)", "modprobe nf_conntrack"
        found.append(Setting(name, value, asked, drifted, remark, fix))
    return SysctlReport(SCHEMA, tuple(found))


def _remark(name: str, value: int | None, values: Mapping[str, int | None]) -> tuple[str, str]:
    """Return what a value means to Services, and how to change it."""
    last = name.rpartition(".")[2]
    most, buckets = values.get("net/netfilter/nf_conntrack_max"), values.get("net/netfilter/nf_conntrack_buckets")
    if last == "nf_conntrack_tcp_timeout_established" and value is not None and value >= LONG_ESTABLISHED:
        return "the kernel's own five days: connections that vanished without an end fill the table", f"sysctl -w {name}=86400"
    if last == "nf_conntrack_buckets" and most and buckets and buckets * 4 < most:
        fix = f"echo {most // 4} > /sys/module/nf_conntrack/parameters/hashsize"
        return "fewer than a quarter of nf_conntrack_max: looking up gets slow (CT-21)", fix
    meanings = {
        ("nf_conntrack_tcp_be_liberal", 0): "packets out of the window are INVALID; in iptables mode forwarded ones are dropped (SEM-70)",
        ("nf_conntrack_tcp_be_liberal", 1): "packets out of the window pass as part of their connection",
        ("nf_conntrack_acct", 0): "packets and bytes of flows are not counted",
        ("nf_conntrack_timestamp", 0): "nobody notes when flows begin: `list --since` has nothing to go by",
        ("nf_conntrack_tcp_loose", 0): "connections that are under way when tracking begins are not picked up",
        ("nf_conntrack_events", 0): "`pointsman conntrack watch` hears nothing",
    }
    fixes = {"nf_conntrack_acct": "=1", "nf_conntrack_timestamp": "=1", "nf_conntrack_events": "=2"}
    text = meanings.get((last, value)) if value is not None else None
    return (text or "", f"sysctl -w {name}{fixes[last]}" if text and last in fixes else "")
