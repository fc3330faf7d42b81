"""Whether this machine can carry the iptables mode: asked before anything is written, everything wrong told at once.

Matches and targets are tried for real, in a network namespace that exists only for the question: a set is created and one rule per
extension is written there, so nothing of the host is touched and the kernel loads the modules as it would later. Where making a namespace
is not allowed (a container with CAP_NET_ADMIN only), the same text goes through `--test`, which loads extensions but commits nothing.

Where our rules stand already, an earlier run of ours has shown all of it, and nothing is tried: a restart then writes nowhere at all.

A kernel without IPv6 netfilter is not an error of the whole program but of one family: `family_error` tells it apart, and the daemon then
serves the other family alone (PROC-09). Each error says which extension or program, and which package or kernel option brings it (pain
41).
"""

import errno
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import names
from pointsman.iptables.failure import Failure, judge
from pointsman.iptables.lock import lock_path
from pointsman.iptables.run import Finished, find_program, output_of, run
from pointsman.iptables.variant import Tools, Variant, find_tools, legacy_tables
from pointsman.routing.route import Family

_SET: Final = "POINTSMAN-PROBE"
_CAPABILITIES: Final = {12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW"}  # the tools and the set match open raw sockets
_NS_GET_USERNS: Final = 0xB701  # ioctl_ns(2)
FAMILY_MISSING: Final = "this kernel has no"
"""How the text of the error begins that only concerns one family."""


class Probe(Struct, frozen=True):
    """One extension: its name, the table and the rule that try it, and the kernel option that brings it."""

    name: str
    table: str
    rule: str
    option: str


PROBES: Final = (
    Probe("comment", "nat", '-m comment --comment "probe" -j ACCEPT', "NETFILTER_XT_MATCH_COMMENT"),
    Probe("addrtype", "nat", "-m addrtype --dst-type LOCAL -j ACCEPT", "NETFILTER_XT_MATCH_ADDRTYPE"),
    Probe("statistic", "nat", "-m statistic --mode random --probability 0.5 -j ACCEPT", "NETFILTER_XT_MATCH_STATISTIC"),
    Probe("recent", "nat", "-m recent --rcheck --seconds 10 --reap --name POINTSMAN --rsource -j ACCEPT", "NETFILTER_XT_MATCH_RECENT"),
    Probe("set", "nat", f"-m set --match-set {_SET} dst -j ACCEPT", "NETFILTER_XT_SET"),
    Probe("conntrack", "filter", "-m conntrack --ctstate NEW -j ACCEPT", "NETFILTER_XT_MATCH_CONNTRACK"),
    Probe("mark", "filter", "-m mark --mark 0x4000/0x4000 -j ACCEPT", "NETFILTER_XT_MARK"),
    Probe("MARK", "nat", "-j MARK --or-mark 0x4000", "NETFILTER_XT_MARK"),
    Probe("tcp", "nat", "-p tcp -m tcp --dport 80 -j ACCEPT", "NETFILTER_XTABLES"),
    Probe("udp", "nat", "-p udp -m udp --dport 80 -j ACCEPT", "NETFILTER_XTABLES"),
    Probe("sctp", "nat", "-p sctp -m sctp --dport 80 -j ACCEPT", "NETFILTER_XT_MATCH_SCTP"),
    Probe("DNAT", "nat", "-p tcp -j DNAT --to-destination {address}:80", "NETFILTER_XT_NAT"),
    Probe("MASQUERADE", "nat", "-j MASQUERADE{random}", "NETFILTER_XT_TARGET_MASQUERADE"),
    Probe("REJECT", "filter", "-j REJECT", "IP_NF_TARGET_REJECT and IP6_NF_TARGET_REJECT"),
)


async def preflight(family: Family, variant: Variant, probes: Sequence[Probe] | None = None) -> tuple[KernelError, ...]:
    """Return everything that keeps the mode from working here for one family; empty if it can work. Writes nothing.

    Another mode that needs these tools says by `probes` which extensions it needs.
    """
    errors = _permissions()
    try:
        tools = await find_tools(family, variant)
    except KernelError as error:
        errors.append(error)
        tools = None
    ipset = find_program("ipset")
    if ipset is None:
        errors.append(KernelError(ErrorKind.UNSUPPORTED, "no such program: install the Debian package ipset", "ipset"))
    if tools is None or ipset is None or errors:
        return tuple(errors)
    if probes is None and await _stands(tools):
        return ()
    return await _probe(tools, ipset, PROBES if probes is None else probes)


async def _stands(tools: Tools) -> bool:
    """Return whether our rules are in this kernel, which therefore knows every extension; a question about one chain is cheap."""
    if tools.variant is Variant.LEGACY and "nat" not in legacy_tables(tools.family):
        return False  # asking would create the table
    try:
        listed = await output_of((tools.save.removesuffix("-save"), "-w", "1", "-t", "nat", "-S", names.SERVICES))
    except KernelError:
        return False
    return any(names.jump_target(rule) == names.DESTINATIONS for rule in listed.splitlines())


def family_error(errors: tuple[KernelError, ...]) -> KernelError | None:
    """Return the error that says that only this IP family is absent from the kernel, if it is among them (PROC-09)."""
    return next((error for error in errors if error.kind is ErrorKind.UNSUPPORTED and error.text.startswith(FAMILY_MISSING)), None)


def _own_status() -> str:
    return Path("/proc/self/status").read_text(encoding="utf-8")


def _permissions() -> list[KernelError]:
    found = []
    if missing := missing_capabilities(_own_status()):
        text = f"missing in this process: {', '.join(missing)}; run as root, or give them to the container"
        found.append(KernelError(ErrorKind.DENIED, text, "capabilities"))
    if not is_network_ours():
        text = "belongs to the host, and this process is root only in a user namespace; run without one, or give it a network of its own"
        found.append(KernelError(ErrorKind.DENIED, text, "network namespace"))
    return found


def missing_capabilities(status: str) -> tuple[str, ...]:
    """Return the names of the capabilities that a process needs and has not, from the text of its /proc/PID/status."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    held = int(found[1], 16) if found else 0
    return tuple(name for bit, name in _CAPABILITIES.items() if not held >> bit & 1)


def is_network_ours(namespace: Path = Path("/proc/self/ns/net")) -> bool:
    """Return whether capabilities count in a network namespace: it is owned by our user namespace, or by one below."""
    try:
        with namespace.open("rb") as handle:
            owner = fcntl.ioctl(handle, _NS_GET_USERNS)
    except OSError as error:
        return error.errno != errno.EPERM  # a kernel that cannot be asked lets the tools find out
    os.close(owner)
    return True


async def _probe(tools: Tools, ipset: str, probes: Sequence[Probe]) -> tuple[KernelError, ...]:
    if await _try(tools, ipset, probes) is None:  # as usual: then one namespace was enough
        return ()
    errors: list[KernelError] = []
    for table in dict.fromkeys(probe.table for probe in probes):
        left = [probe for probe in probes if probe.table == table]
        while left:
            failure = await _try(tools, ipset, left)
            if failure is None:
                break
            if failure.kind is ErrorKind.BUSY and "lock" in failure.text:
                return tuple(errors)  # says nothing about the kernel; whoever writes waits, tries again and names the holder
            if (whole := _whole_table(tools, table, failure)) is not None:
                return (*errors, whole)
            blamed = _blamed(failure, left)
            if not blamed and len(left) > 1:  # refused without a name: one by one then
                blamed = [probe for probe in left if await _try(tools, ipset, [probe]) is not None]
            errors += [_absent(probe, failure, tools) for probe in blamed or left]
            left = [probe for probe in left if probe not in blamed] if blamed else []
    return tuple(errors)


async def _try(tools: Tools, ipset: str, probes: Sequence[Probe]) -> Failure | None:
    """Write the rules where they harm nobody; None if the kernel took them."""
    address, inet = ("192.0.2.1", "inet") if tools.family is Family.IPV4 else ("[2001:db8::1]", "inet6")
    random = " --random-fully" if tools.random_fully else ""
    text = ""
    for table in dict.fromkeys(probe.table for probe in probes):
        some = (probe.rule.format(address=address, random=random, set=_SET) for probe in probes if probe.table == table)
        rules = "".join(f"-A KUBE-PROBE {rule}\n" for rule in some)
        text += f"*{table}\n:KUBE-PROBE - [0:0]\n{rules}COMMIT\n"
    finished = await _in_namespace(tools, ipset, inet, text)
    return None if finished.status == 0 else judge(finished.status, finished.errors)


async def _in_namespace(tools: Tools, ipset: str, inet: str, text: str) -> Finished:
    script = '"$0" create "$1" hash:ip family "$2" && shift 2 && exec "$@"'
    inner = ("sh", "-c", script, ipset, _SET, inet, *tools.restore_command())
    unshare = find_program("unshare")
    if unshare is not None:
        finished = await run((unshare, "--net", "--", *inner), text)
        if "unshare failed" not in finished.errors:
            return finished
    finished = await run(tools.restore_command("--test"), "\n".join(line for line in text.split("\n") if _SET not in line))
    missing = "revision" in finished.errors and "not supported" in finished.errors
    return Finished(finished.status or int(missing), finished.output, finished.errors, finished.pid)


def _blamed(failure: Failure, probes: list[Probe]) -> list[Probe]:
    names = set(failure.extensions) | set(failure.chains)
    if failure.sets or "ipset" in failure.text or "set type" in failure.text:
        names.add("set")
    by_line = {probes[line - 3].name for line in failure.lines if 0 <= line - 3 < len(probes)}
    return [probe for probe in probes if probe.name in (names or by_line)]


def _whole_table(tools: Tools, table: str, failure: Failure) -> KernelError | None:
    """Return the error of a failure that is not about one rule: no such table, or no right to write one."""
    if failure.kind is ErrorKind.DENIED:
        return KernelError(ErrorKind.DENIED, failure.text, tools.restore)
    if "open lock file" in failure.text:
        text = f"cannot be used ({failure.text}): let the program write {lock_path()}, in a container by mounting the host's file there"
        return KernelError(ErrorKind.DENIED, text, "xtables lock")
    if re.search(r"initialize.*table|table does not exist", failure.text, re.IGNORECASE):
        what = f"{tools.family.value} table {table} for iptables ({tools.variant.value})"
        return KernelError(
            ErrorKind.UNSUPPORTED,
            f"{FAMILY_MISSING} {what}: {failure.text}; load the module ip{'6' * (tools.family is Family.IPV6)}table_{table} or nf_tables",
            f"iptables {tools.family.value}",
        )
    return None


def _absent(probe: Probe, failure: Failure, tools: Tools) -> KernelError:
    return KernelError(
        ErrorKind.UNSUPPORTED,
        f"not usable ({failure.text}): load its kernel module, or use a kernel built with CONFIG_{probe.option}",
        f"iptables extension {probe.name} for {tools.family.value}",
    )
