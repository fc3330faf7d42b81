"""A plan as stages: each is done by one kind of means, and one after the other they keep the order of ranks. Pure.

A plan lists additions by ascending and deletions by descending rank, so neighbours of one kind are one stage: sets and rules (the tools'
input), virtual and real servers (netlink), addresses (netlink). A change of endpoints is a single stage of servers and runs no tool.
Elements of sets carry values here, so sets are written by this module; rules go through the iptables mode's rendering.

`kernel` carries the stages out, `text` puts them into words for people.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

from msgspec import Struct
from pointsman.dataplane.contract import ABSENT, Change, Mark, Plan
from pointsman.iptables import render as rules
from pointsman.iptables.objects import Key as ToolKey
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.render import Block, Step
from pointsman.ipvs import names
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey, RealServer, ServerFlag, VirtualKey, VirtualServer, endpoint
from pointsman.routing.route import Family

Changes = Sequence[Change[Key, Value]]
Means = Literal["tools", "servers", "addresses"]


class Stage(Struct, frozen=True):
    """Changes that belong together: all additions and updates, or all deletions. `steps` are the tool calls, where tools do it."""

    means: Means
    deletes: bool
    changes: tuple[Change[Key, Value], ...]
    steps: tuple[Step, ...] = ()

    @property
    def tool_plan(self) -> Plan[ToolKey, str]:
        """Return the changes of sets and rules as the tools' own plan, for who looks for the cause of a failure."""
        found = ((change.key, change) for change in self.changes)
        return Plan(tuple(Change(key, _text(c.before), _text(c.after)) for key, c in found if isinstance(key, RuleKey | SetKey)), {})


def _means(key: Key) -> Means:
    if isinstance(key, RuleKey | SetKey):
        return "tools"
    return "addresses" if isinstance(key, AddressKey) else "servers"


def stages(plan: Plan[Key, Value], family: Family) -> Iterator[Stage]:
    """Yield the stages of a plan, in order."""
    for (means, deletes), group in groupby(plan.changes, lambda change: (_means(change.key), change.after is ABSENT)):
        changes = tuple(group)
        steps = _steps(changes, plan, family, deletes=deletes) if means == "tools" else ()
        yield Stage(means, deletes, changes, steps)


def _steps(changes: Changes, plan: Plan[Key, Value], family: Family, *, deletes: bool) -> tuple[Step, ...]:
    sets = _ipset(family, set_lines([change for change in changes if isinstance(change.key, SetKey)]))
    ruled = [Change[ToolKey, str](c.key, _text(c.before), _text(c.after)) for c in changes if isinstance(c.key, RuleKey)]
    written = rules.script(Plan(tuple(ruled), _hooks(plan, ruled)), family)
    return (*written, *sets) if deletes else (*sets, *written)


def _hooks(plan: Plan[Key, Value], changes: Sequence[Change[ToolKey, str]]) -> Mapping[Hashable, Mapping[ToolKey, str]]:
    """Return the wanted hooks of every built-in chain that these changes touch."""
    touched = {rules.group(change.key) for change in changes}
    return {
        group: {key: value for key, value in members.items() if isinstance(key, RuleKey) and isinstance(value, str)}
        for group, members in plan.groups.items()
        if group in touched
    }


def _text(value: Value | Mark) -> str | Mark:
    assert isinstance(value, str | Mark)
    return value


def _ipset(family: Family, lines: Sequence[Block]) -> tuple[Step, ...]:
    return (Step(family, "ipset", tuple(lines)),) if lines else ()


def set_lines(changes: Changes) -> list[Block]:
    """Return the commands for sets and elements, each with its key.

    A set with other options is built beside the old one and swapped in, under the rules that use it; its elements all come anew. ipset
    does not swap sets of different types: such a one is somebody else's mistake and is made anew.
    """
    lines: list[Block] = []
    swapped: dict[str, SetKey] = {}
    gone = {c.key.name for c in changes if isinstance(c.key, SetKey) and not c.key.element and c.after is ABSENT}
    for change in changes:
        key, value = change.key, change.after
        assert isinstance(key, SetKey)
        if isinstance(value, Mark):
            lines += _deletion(key, gone)
        elif key.element:
            name = names.spare(key.name) if key.name in swapped else key.name
            lines.append(Block(f"add {name} {key.element} {value}".rstrip() + " -exist", key))
        elif isinstance(change.before, Mark):
            lines.append(Block(f"create {key.name} {value} -exist", key))
        elif str(change.before).split()[:3] == str(value).split()[:3]:
            swapped[key.name] = key
            lines.append(Block(f"create {names.spare(key.name)} {value} -exist", key))
        else:
            lines += [Block(f"destroy {key.name}", key), Block(f"create {key.name} {value}", key)]
    for name, key in swapped.items():
        lines += [Block(f"swap {names.spare(name)} {name}", key), Block(f"destroy {names.spare(name)}", key)]
    return lines


def _deletion(key: SetKey, gone: set[str]) -> list[Block]:
    if not key.element:
        return [Block(f"destroy {key.name}", key)]
    return [] if key.name in gone else [Block(f"del {key.name} {key.element} -exist", key)]


# --- for people ------------------------------------------------------------------------------------------------------

_TOOLS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_PROTOCOL_OPTIONS = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}


def text(stage: Stage, family: Family) -> str:
    """Return a stage as the input that its tools would be given: iptables-restore, ipset restore, ipvsadm -R, ip -batch."""
    if stage.means == "tools":
        calls = {"restore": f"{_TOOLS[family]}-restore --noflush", "ipset": "ipset restore"}
        return "".join(f"# {calls[step.tool]}\n{step.text}" for step in stage.steps)
    title = "# ipvsadm -R\n" if stage.means == "servers" else "# ip -batch -\n"
    return title + "".join(f"{line(change)}\n" for change in stage.changes)


def line(change: Change[Key, Value]) -> str:
    """Return a change of a server in ipvsadm's words, of an address in those of ip."""
    key, after, known = change.key, change.after, not isinstance(change.before, Mark)
    if isinstance(key, AddressKey):
        verb = "del" if after is ABSENT else "add"
        return f"addr {verb} {key.address}/{128 if ':' in key.address else 32} dev {names.DEVICE}"
    if isinstance(key, VirtualKey):
        verb = "-D" if after is ABSENT else "-E" if known else "-A"
        options = _virtual_options(after) if isinstance(after, VirtualServer) else ""
        return f"{verb} {virtual(key)}{options}"
    assert isinstance(key, RealKey)
    verb = "-d" if after is ABSENT else "-e" if known else "-a"
    options = f" -m -w {after.weight}" if isinstance(after, RealServer) else ""
    return f"{verb} {virtual(key.virtual)} -r {endpoint(key.address, key.port)}{options}"


def virtual(key: VirtualKey) -> str:
    """Return a virtual server as ipvsadm's option."""
    if key.protocol is None:
        return f"-f {key.mark}" + (" -6" if key.family is Family.IPV6 else "")
    return f"{_PROTOCOL_OPTIONS[key.protocol.value]} {endpoint(key.address, key.port)}"


def _virtual_options(server: VirtualServer) -> str:
    persistent = f" -p {server.persistence_seconds}" if server.flags & ServerFlag.PERSISTENT else ""
    port = " -b mh-port" if server.scheduler == "mh" and server.flags & ServerFlag.SCHEDULER_2 else ""
    return f" -s {server.scheduler}{persistent}{port}"
