"""What is judged about a machine, from what was read of it: settings, modules, tables of others, the fill of connection tracking. Pure.

Every rule of judgement is one function from `Machine` to findings, with the reason and the command that mends it; `doctor` runs all of
them, `explain` those that can stop a packet. Settings depend on the kernel's version where the right value does (pains 17, 18).
Sources: docs/pains.md; Documentation/networking/ip-sysctl.rst of the kernel.
"""

from collections.abc import Iterable, Iterator, Mapping
from re import match

from msgspec import Struct
from pointsman.explain.findings import Finding, Level
from pointsman.routing.route import Family

FORWARD = {Family.IPV4: "net.ipv4.ip_forward", Family.IPV6: "net.ipv6.conf.all.forwarding"}
LOCAL_PORTS = "net.ipv4.ip_local_port_range"
RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports"
FULL = 0.8
"""Share of the table of connections from which it counts as nearly full (pain 13)."""

_PHYSICAL = r"(eth|en|bond|ib)"
_TUNNELS = {"flannel.": 50, "flannel-wg": 60, "vxlan.calico": 50, "vxlan-v6.calico": 70, "wireguard.cali": 60, "tunl0": 20}
"""Bytes that tunnels of usual pod networks put before each packet; Cilium's device does not tell what it really sends."""
_PROGRAMS = {
    "kube-proxy": (
        "two programs that route Services fight about the same rules",
        "kubectl -n kube-system delete daemonset kube-proxy",
    ),
    "firewalld": ("a reload of it removes rules of others, which are then written again", "systemctl disable --now firewalld"),
}


class ForeignTable(Struct, frozen=True):
    """A table or chain of another program: whose it seems to be, what it is, and whether it can refuse packets."""

    owner: str
    text: str
    refuses: bool = False


class Machine(Struct, frozen=True):
    """What was read; a setting that the kernel does not have is None."""

    release: str = ""
    mode: str = "iptables"
    settings: Mapping[str, str | None] = {}
    entries: int = 0
    entries_max: int = 0
    counters: Mapping[str, int] = {}
    interfaces: Mapping[str, int] = {}
    foreign: tuple[ForeignTable, ...] = ()
    variants: Mapping[str, int] = {}
    processes: tuple[str, ...] = ()
    preflight: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    clock_synchronised: bool | None = None
    node_ports: tuple[int, ...] = ()

    def number(self, name: str) -> int | None:
        """Return a setting as a number, None if the kernel does not have it."""
        text = self.settings.get(name)
        return int(text) if text is not None and text.lstrip("-").isdigit() else None


def packet_settings(machine: Machine, family: Family) -> tuple[Finding, ...]:
    """Return the findings about settings that can stop packets of a family."""
    return tuple(_forwarding(machine, (family,)))


def findings(machine: Machine) -> tuple[Finding, ...]:
    """Return every finding about a machine, the worst first."""
    rules = (
        _preflight, _all_forwarding, _paths, _bridges, _reuse, _loopback, _ports, _fill, _foreign, _variants, _mtu, _clock, _names,
    )  # fmt: skip
    found = [finding for rule in rules for finding in rule(machine)]
    order = {level: place for place, level in enumerate(Level)}
    return tuple(sorted(found, key=lambda one: order[one.level]))


def _all_forwarding(machine: Machine) -> Iterator[Finding]:
    yield from _forwarding(machine, Family)


def _forwarding(machine: Machine, families: Iterable[Family]) -> Iterator[Finding]:
    for family in families:
        name = FORWARD[family]
        value = machine.number(name)
        if value == 0:
            why = f"packets of pods and from outside are not passed on, so no endpoint of another place is reached by {family.value}"
            yield Finding(Level.BAD, name, f"{name} is 0", why, f"sysctl -w {name}=1", "forwarded")
        elif value is not None:
            yield Finding(Level.OK, name, f"{name} is {value}")


def _paths(machine: Machine) -> Iterator[Finding]:
    strict = [name for name, value in machine.settings.items() if name.endswith(".rp_filter") and value == "1"]
    for name in sorted(strict):
        why = "strict filtering drops packets whose answer would leave by another interface: node ports and masqueraded replies vanish"
        yield Finding(Level.WARN, "rp_filter", f"{name} is 1", why, f"sysctl -w {name}=2")
    if not strict and any(name.endswith(".rp_filter") for name in machine.settings):
        yield Finding(Level.OK, "rp_filter", "no interface filters strictly by the way back")


def _bridges(machine: Machine) -> Iterator[Finding]:
    for family, name in (("iptables", "net.bridge.bridge-nf-call-iptables"), ("ip6tables", "net.bridge.bridge-nf-call-ip6tables")):
        value = machine.number(name)
        if value == 0:
            why = f"packets between pods on one bridge do not meet {family}: a pod cannot reach a Service whose endpoint is its neighbour"
            yield Finding(Level.WARN, "bridge-nf", f"{name} is 0", why, f"sysctl -w {name}=1")
        elif value == 1:
            yield Finding(Level.OK, "bridge-nf", f"{name} is 1")


def _reuse(machine: Machine) -> Iterator[Finding]:
    if machine.mode != "ipvs":
        return
    value, wanted = machine.number("net.ipv4.vs.conn_reuse_mode"), 1 if _version(machine.release) >= (5, 9) else 0
    if value is not None and value != wanted:
        why = (
            "a client port that is used again keeps going to a server that drains" if wanted
            else "before kernel 5.9 the first packet of a client port that is used again is dropped, which costs a second"
        )  # fmt: skip
        text = f"net.ipv4.vs.conn_reuse_mode is {value} on kernel {machine.release}"
        yield Finding(Level.BAD, "conn_reuse_mode", text, why, f"sysctl -w net.ipv4.vs.conn_reuse_mode={wanted}")
    elif value is not None:
        yield Finding(Level.OK, "conn_reuse_mode", f"net.ipv4.vs.conn_reuse_mode is {value}, right for kernel {machine.release}")


def _loopback(machine: Machine) -> Iterator[Finding]:
    value = machine.number("net.ipv4.conf.all.route_localnet")
    if machine.mode == "iptables" and value == 0:
        why = "node ports do not answer on 127.0.0.1 (all other addresses are not concerned)"
        text = "net.ipv4.conf.all.route_localnet is 0"
        yield Finding(Level.OK, "route_localnet", text, why)


def _ports(machine: Machine) -> Iterator[Finding]:
    """Yield whether programs of this node may be given ports that are node ports (pain 14)."""
    given = sorted(_numbers((machine.settings.get(LOCAL_PORTS) or "").replace("\t", "-").replace(" ", "-")))
    if not given or not machine.node_ports:
        return
    kept = _numbers(machine.settings.get(RESERVED_PORTS) or "")
    shared = [port for port in sorted(set(machine.node_ports)) if given[0] <= port <= given[-1] and port not in kept]
    if not shared:
        yield Finding(Level.OK, "node ports", f"no node port is given to programs of this node as a port of their own ({LOCAL_PORTS})")
        return
    more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
    text = f"{LOCAL_PORTS} is {given[0]}-{given[-1]}, and {', '.join(map(str, shared[:5]))}{more} in it are node ports"
    why = (
        "an answer that comes to such a port counts as a new connection to the node port, and the program waits in vain"
        if machine.mode == "ipvs" else "a program that listens at a port that it was given is not reached: the Service gets its packets"
    )  # fmt: skip
    yield Finding(Level.WARN, "node ports", text, why, f"sysctl -w {RESERVED_PORTS}={_with(kept, shared)}")


def _numbers(text: str) -> frozenset[int]:
    """Return the ports of a list like `80,30000-32767`."""
    found: set[int] = set()
    for part in text.split(","):
        if ends := match(r"\s*(\d+)\s*(?:-\s*(\d+))?\s*$", part):
            found.update(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return frozenset(found)


def _with(kept: frozenset[int], shared: list[int]) -> str:
    """Return what to reserve: what is reserved, with the usual range of node ports if all are in it, else with these."""
    usual = range(30000, 32768)
    ports = sorted({*kept, *(usual if all(port in usual for port in shared) else shared)})
    parts: list[list[int]] = []
    for port in ports:
        if parts and parts[-1][1] == port - 1:
            parts[-1][1] = port
        else:
            parts.append([port, port])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _fill(machine: Machine) -> Iterator[Finding]:
    if machine.entries_max:
        share = machine.entries / machine.entries_max
        text = f"{machine.entries:,} of {machine.entries_max:,} connections are tracked ({share:.0%})"
        if share >= FULL:
            level = Level.BAD if share >= 0.95 else Level.WARN
            why = "when the table is full, the first packet of every new connection is dropped, of all programs on this node"
            fix = f"pointsman conntrack top; sysctl -w net.netfilter.nf_conntrack_max={2 * machine.entries_max}"
            yield Finding(level, "conntrack", text, why, fix)
        else:
            yield Finding(Level.OK, "conntrack", text)
    for name in ("drop", "early_drop", "insert_failed"):
        if machine.counters.get(name):
            why = "packets were lost because of the table of connections; the number counts since the machine started"
            yield Finding(Level.WARN, "conntrack", f"{name}: {machine.counters[name]:,}", why, "pointsman conntrack stats")


def _foreign(machine: Machine) -> Iterator[Finding]:
    for table in machine.foreign:
        why = "it can refuse packets that Services should pass" if table.refuses else "its rules stand beside ours and are left alone"
        fix = "pointsman explain --from ... --to ... tells whether a packet meets it" if table.refuses else ""
        yield Finding(Level.WARN if table.refuses else Level.OK, f"rules of {table.owner}", table.text, why, fix)
    for name in machine.processes:
        if name in _PROGRAMS:
            yield Finding(Level.BAD if name == "kube-proxy" else Level.WARN, name, f"{name} is running", *_PROGRAMS[name])


def _variants(machine: Machine) -> Iterator[Finding]:
    both = {name: count for name, count in machine.variants.items() if count}
    if len(both) > 1:
        said = " and ".join(f"{count} rules in {name}" for name, count in sorted(both.items()))
        why = "both variants of iptables hold at once, and each tool shows only its own (pain 40)"
        yield Finding(Level.WARN, "iptables", said, why, "iptables-legacy-save; iptables-nft-save")
    elif both:
        name, count = next(iter(both.items()))
        yield Finding(Level.OK, "iptables", f"{count} rules, all in the {name} variant")


def _mtu(machine: Machine) -> Iterator[Finding]:
    sizes = {name: size for name, size in machine.interfaces.items() if name != "lo"}
    for name, size in sorted(sizes.items()):
        if size < 1280:
            why = "IPv6 does not work below 1280, and large packets are lost"
            yield Finding(Level.BAD, "mtu", f"{name} has an MTU of {size}", why, f"ip link set {name} mtu 1500")
    large = list(_too_large(sizes))
    yield from large
    if sizes and min(sizes.values()) >= 1280 and not large:
        yield Finding(Level.OK, "mtu", f"between {min(sizes.values())} and {max(sizes.values())} on {len(sizes)} interfaces")


def _too_large(sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Yield tunnels whose packets do not fit into any physical interface once their own header is before them."""
    widest = max((size for name, size in sizes.items() if match(_PHYSICAL, name)), default=0)
    for name, size in sorted(sizes.items()):
        header = next((header for prefix, header in _TUNNELS.items() if name.startswith(prefix)), 0)
        if widest and header and size > widest - header:
            text = f"{name} has an MTU of {size}, and the widest physical interface one of {widest}"
            why = f"with its header of {header} bytes a full packet does not fit: connections open, and hang when much is sent"
            fix = f"set the MTU of the pod network to {widest - header}, in the CNI plugin's settings"
            yield Finding(Level.WARN, "mtu", text, why, fix)


def _clock(machine: Machine) -> Iterator[Finding]:
    if machine.clock_synchronised is False:
        why = "certificates and the ages of objects are judged by the clock; the agent's own times do not depend on it"
        yield Finding(Level.WARN, "clock", "the kernel's clock is not synchronised", why, "timedatectl set-ntp true")
    elif machine.clock_synchronised:
        yield Finding(Level.OK, "clock", "the kernel's clock is synchronised")


def _names(machine: Machine) -> Iterator[Finding]:
    if machine.nameservers:
        yield Finding(Level.OK, "dns", f"this node asks {', '.join(machine.nameservers)}; pods ask what kubelet's clusterDNS says")
    else:
        text = "no nameserver in /etc/resolv.conf"
        yield Finding(Level.WARN, "dns", text, "programs of this node resolve no name", "cat /etc/resolv.conf")


def _preflight(machine: Machine) -> Iterator[Finding]:
    for text in machine.preflight:
        yield Finding(Level.BAD, "kernel", text, f"mode {machine.mode} cannot work like this", "see the text")
    if not machine.preflight:
        yield Finding(Level.OK, "kernel", f"{machine.release} has everything that mode {machine.mode} needs")


def _version(release: str) -> tuple[int, int]:
    found = match(r"(\d+)\.(\d+)", release)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)
