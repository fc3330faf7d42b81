"""What this machine is like, read for `doctor` and `explain`: settings, modules, other programs' tables. Writes nothing.

Each part is read on its own, and one that cannot be read is left out: a doctor that fails where something is broken is of no use.
`explain.machine` judges.
"""

import ctypes
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import structs
from pointsman.conntrack.kernel import ConntrackKernel, summed
from pointsman.dataplane.errors import KernelError
from pointsman.explain.machine import FORWARD, LOCAL_PORTS, RESERVED_PORTS, ForeignTable, Machine
from pointsman.iptables.reading import rules_of
from pointsman.iptables.ruleset import Ruleset
from pointsman.iptables.run import find_program, output_of
from pointsman.iptables.tracer import is_ours
from pointsman.iptables.variant import Variant
from pointsman.ipvs.tracer import is_ours as is_of_ipvs
from pointsman.proxy.config import Config
from pointsman.proxy.modes import MODES
from pointsman.routing.route import Family

PROC = Path("/proc")
_SETTINGS = (
    *FORWARD.values(), "net.ipv4.conf.all.route_localnet", "net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv4.vs.conn_reuse_mode", "net.ipv4.vs.conntrack", "net.netfilter.nf_conntrack_tcp_be_liberal",
    LOCAL_PORTS, RESERVED_PORTS,
)  # fmt: skip
_KNOWN = ("kube-proxy", "firewalld")
_OWNERS = {
    "KUBE-ROUTER": "kube-router", "cali-": "Calico", "CILIUM": "Cilium", "FLANNEL": "flannel", "DOCKER": "Docker", "KUBE-": "kube-proxy",
}  # fmt: skip
_REFUSING = ("-j DROP", "-j REJECT")


def settings(proc: Path = PROC) -> Machine:
    """Return the machine's release and settings only."""
    found: dict[str, str | None] = {name: setting(name, proc) for name in _SETTINGS}
    for folder in _folders(proc / "sys/net/ipv4/conf"):
        found[f"net.ipv4.conf.{folder}.rp_filter"] = setting(f"net/ipv4/conf/{folder}/rp_filter", proc)
    return Machine(release=platform.release(), settings=found)


def setting(name: str, proc: Path = PROC) -> str | None:
    """Return a setting's value, None if the kernel does not have it; a name with slashes may have dots in its parts."""
    path = name if "/" in name else name.replace(".", "/")
    try:
        return (proc / "sys" / path).read_text(encoding="ascii").strip()
    except OSError:
        return None


async def machine(config: Config) -> Machine:
    """Return everything that could be read."""
    found = structs.replace(
        settings(), mode=config.mode, interfaces=interfaces(), processes=tuple(running(_KNOWN)), nameservers=nameservers(),
        clock_synchronised=clock_synchronised(),
    )  # fmt: skip
    try:
        async with await ConntrackKernel.open() as kernel:
            fill = await kernel.fill()
            limit = fill.most or int(setting("net.netfilter.nf_conntrack_max") or 0)
            found = structs.replace(found, entries=fill.count, entries_max=limit, counters=summed(await kernel.counters()))
    except KernelError:
        pass
    try:
        engine = await MODES[config.mode].open(config)
        errors = await engine.preflight()
        found = structs.replace(found, preflight=tuple(dict.fromkeys(str(one) for each in errors.values() for one in each)))
    except KernelError as error:
        found = structs.replace(found, preflight=(str(error),))
    rules = await _all_rules()
    variants: dict[str, int] = {}
    for one in rules:
        count = sum(len(chain.rules) for chains in one.tables.values() for chain in chains.values())
        variants[one.label] = variants.get(one.label, 0) + count
    return structs.replace(found, variants=variants, foreign=(*foreign_rules(rules), *await foreign_tables()))


async def refusing() -> tuple[ForeignTable, ...]:
    """Return what other programs have that can refuse packets."""
    found = (*foreign_rules(await _all_rules()), *await foreign_tables())
    return tuple(one for one in found if one.refuses)


async def _all_rules() -> list[Ruleset]:
    return [one for variant in Variant for family in Family if (one := await _rules(family, variant)) is not None]


async def _rules(family: Family, variant: Variant) -> Ruleset | None:
    try:
        return await rules_of(family, variant)
    except KernelError:
        return None


def foreign_rules(rulesets: Iterable[Ruleset]) -> tuple[ForeignTable, ...]:
    """Return other programs' rules that can refuse packets, and whose they seem to be, by the chain that they stand in."""
    found: dict[ForeignTable, None] = {}
    for rules in rulesets:
        for table, chains in rules.tables.items():
            for name, chain in chains.items():
                if chain.policy == "DROP":
                    found[ForeignTable("another program", f"{rules.label}: {table} {name} has policy DROP", refuses=True)] = None
                for rule in rules.rules(table, name):
                    ours = is_ours(table, name, rule.text) or is_of_ipvs(table, name, rule.text)
                    if not ours and any(target in f" {rule.text}" for target in _REFUSING):
                        text = f"{rules.label}: {rule.where}: {rule.text}"
                        found[ForeignTable(owner_of(name), text, refuses=True)] = None
    return tuple(found)


def owner_of(chain: str) -> str:
    """Return which program usually makes chains of such a name."""
    return next((owner for prefix, owner in _OWNERS.items() if chain.startswith(prefix)), "another program")


async def foreign_tables() -> tuple[ForeignTable, ...]:
    """Return tables of nftables that iptables does not show, where a base chain of theirs can refuse packets on the way of Services."""
    if (program := find_program("nft")) is None:
        return ()
    try:
        listed = json.loads(await output_of([program, "-j", "list", "chains"]))["nftables"]
    except (KernelError, ValueError, KeyError):
        return ()
    found = []
    for one in (entry["chain"] for entry in listed if "chain" in entry):
        if "hook" in one and one["hook"] in {"forward", "input", "prerouting"} and not _by_iptables(one):
            owner = "firewalld" if one["table"] == "firewalld" else f"table {one['family']} {one['table']}"
            policy = one.get("policy", "accept")
            text = f"nft {one['family']} {one['table']} {one['name']}: hook {one['hook']}, priority {one['prio']}, policy {policy}"
            found.append(ForeignTable(owner, text, refuses=policy == "drop"))
    return tuple(found)


def _by_iptables(chain: Mapping[str, object]) -> bool:
    return chain["table"] in {"filter", "nat", "mangle", "raw", "security"} and chain["family"] in {"ip", "ip6"}


def interfaces(folder: Path = Path("/sys/class/net")) -> dict[str, int]:
    """Return the MTU of each interface that sysfs shows."""
    found: dict[str, int] = {}
    for name in _folders(folder):
        try:
            found[name] = int((folder / name / "mtu").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return found


def running(names: Iterable[str], proc: Path = PROC) -> list[str]:
    """Return which of these programs run in this network namespace, as far as its processes can be seen."""
    wanted, found = set(names), set()
    own = _namespace(proc / "self")
    for folder in _folders(proc):
        if folder.isdigit() and _namespace(proc / folder) == own:
            try:
                command = (proc / folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found |= {name for name in wanted if os.path.basename(command.partition(" ")[0]) == name}  # noqa: PTH119
            found |= {"firewalld"} if "firewalld" in wanted and "/firewalld " in command else set()
    return sorted(found)


def _namespace(process: Path) -> str:
    try:
        return os.readlink(process / "ns/net")  # noqa: PTH115
    except OSError:
        return ""


def nameservers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """Return the servers that this node's programs ask for names."""
    try:
        words = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ()
    return tuple(one[1] for one in words if len(one) > 1 and one[0] == "nameserver")


def clock_synchronised() -> bool | None:
    """Return whether the kernel holds its clock to be synchronised; None if it cannot be asked."""
    buffer = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return None if state < 0 else state != 5  # TIME_ERROR


def _folders(path: Path) -> list[str]:
    try:
        return sorted(one.name for one in path.iterdir())
    except OSError:
        return []


