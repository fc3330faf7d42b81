"""A plan as the text of tool calls.

Within a table everything is one restore, so nobody sees a change half made. Across tables and sets the order is: sets and elements that
are new; additions to filter with what is to go still in place; nat, all of it; mangle, raw; then filter as it should be; at last sets and
elements that are to go. A rule that refuses packets is thus there before the nat rule that took them away disappears, and goes after the
nat rule that takes them is there; no rule ever names a set that is missing. A change of endpoints touches only nat and is a single
restore.

A touched chain is declared (which empties it) and written in full: a whole chain from its value, a shared one from `plan.groups`. A chain
without content is declared and deleted, so deleting works whether it exists or not. Hooks of a built-in chain are inserted again together
whenever one is added, so their order is always that of IPT-05. KUBE-FIREWALL is only ever added to.

Chains of Services are declared where they are filled, from the last name to the first, each kind after those that it jumps to. The nft
variant's restore walks a list sorted by name for each line; this way what it seeks stands near the front, which makes writing 10,000
Services two and a half times as fast.

Each line has a key beside it: when a tool names a line, that key, and with it every key of its group, is to blame. `kernel` runs the
steps. A step is kept as blocks and put into words piece by piece while a tool reads it: as one text, the rules of a large cluster would be
the largest thing in memory, for a moment and therefore for ever.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain as flatten
from operator import attrgetter
from typing import Literal

from msgspec import Struct
from pointsman.dataplane.contract import ABSENT, Change, Mark, Plan
from pointsman.iptables import names
from pointsman.iptables.names import Role
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value
from pointsman.routing.route import Family

Content = Mapping[Key, Value]
NEWLINE = "\n"
_ALONE = (Role.GUEST, Role.WHOLE)
_BOTTOM_UP = ("KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-")


class Block(Struct, frozen=True, gc=False):
    """Lines that belong to one key: each line of the body with the prefix before it."""

    body: str
    key: Key | None
    prefix: str = ""

    def text(self) -> str:
        """Return the lines, each with its end."""
        return f"{self.prefix}{self.body.replace(NEWLINE, NEWLINE + self.prefix) if self.prefix else self.body}\n"


class Step(Struct, frozen=True):
    """One tool call: `restore` (iptables-restore --noflush, of one table) or `ipset` (ipset restore), and its input in blocks."""

    family: Family
    tool: Literal["restore", "ipset"]
    blocks: tuple[Block, ...]
    table: str = ""

    def pieces(self) -> Iterator[str]:
        """Yield the input in pieces that end with a line."""
        return (block.text() for block in self.blocks)

    @property
    def text(self) -> str:
        """Return the whole input."""
        return "".join(self.pieces())

    @property
    def keys(self) -> tuple[Key | None, ...]:
        """Return the key of each line."""
        return tuple(flatten.from_iterable([block.key] * (block.body.count(NEWLINE) + 1) for block in self.blocks))


class _Table(Struct):
    """What a plan changes in one table: touched chains with their changes, hooks' built-in chains, and kubelet's chain."""

    chains: dict[str, list[Change[Key, Value]]] = {}
    builtin: dict[str, list[Change[Key, Value]]] = {}
    guest: list[Change[Key, Value]] = []


def group(key: Key) -> Hashable:
    """Return what must be written together with a key: its shared or built-in chain.

    None stands alone: sets, elements, kubelet's chain, and whole chains, whose value is all that is written.
    """
    if isinstance(key, SetKey) or names.role(key.table, key.chain) in _ALONE:
        return None
    return (key.table, key.chain)


def script(plan: Plan[Key, Value], family: Family) -> tuple[Step, ...]:
    """Return the steps of a plan, in order; steps with nothing to do are left out."""
    sets: list[Change[Key, Value]] = []
    tables: dict[str, _Table] = {}
    for change in plan.changes:
        if isinstance(change.key, SetKey):
            sets.append(change)
        elif change.after is not ABSENT or not names.is_kept(change.key):
            _sort_in(tables.setdefault(change.key.table, _Table()), change.key, change)
    filters = tables.get("filter")
    steps: list[Step | None] = [_ipset(family, _set_additions(sets))]
    if filters and "nat" in tables:
        steps.append(_restore(family, "filter", _lines("filter", _additions(filters), plan.groups, keep=True)))
    others = [name for name in ("nat", "mangle", "raw") if name in tables]
    steps += [_restore(family, name, _lines(name, tables[name], plan.groups, keep=False)) for name in others]
    if filters:
        rest = _deletions(filters) if "nat" in tables else filters
        steps.append(_restore(family, "filter", _lines("filter", rest, plan.groups, keep=False)))
    steps.append(_ipset(family, _set_deletions(sets)))
    return tuple(step for step in steps if step)


def _sort_in(table: _Table, key: RuleKey, change: Change[Key, Value]) -> None:
    place = names.role(key.table, key.chain)
    if place is Role.GUEST:
        table.guest.append(change)
    elif place is Role.BUILTIN:
        table.builtin.setdefault(key.chain, []).append(change)
    else:
        table.chains.setdefault(key.chain, []).append(change)


def _is_deletion(change: Change[Key, Value]) -> bool:
    return change.after is ABSENT


def _additions(table: _Table) -> _Table:
    """Return the part of a table's changes whose chains gain or change something."""
    grow = {name: changes for name, changes in table.chains.items() if not all(map(_is_deletion, changes))}
    hooks = {name: changes for name, changes in table.builtin.items() if not all(map(_is_deletion, changes))}
    return _Table(grow, hooks, table.guest)


def _deletions(table: _Table) -> _Table:
    """Return the part of a table's changes that loses something; nothing else is left to do after the additions."""
    shrink = {name: changes for name, changes in table.chains.items() if any(map(_is_deletion, changes))}
    hooks = {name: [c for c in changes if _is_deletion(c)] for name, changes in table.builtin.items()}
    return _Table(shrink, {name: changes for name, changes in hooks.items() if changes}, [])


# --- one table -------------------------------------------------------------------------------------------------------


def _lines(table: str, changes: _Table, groups: Mapping[Hashable, Content], *, keep: bool) -> list[Block]:
    """Return a table's lines; with `keep`, what is to be deleted stays."""
    declared: list[Block] = []
    own: dict[str, list[list[Block]]] = {prefix: [] for prefix in _BOTTOM_UP}
    rules: list[Block] = []
    deleted: list[Block] = []
    for name, members in sorted(changes.chains.items()):
        content = groups.get((table, name))
        if content is None:
            content = {c.key: c.after for c in members if not isinstance(c.after, Mark)}
        if keep:
            content = {**content, **{c.key: c.before for c in members if _is_deletion(c) and not isinstance(c.before, Mark)}}
        blamed = members[0].key
        declaration, filled = Block(f":{name} - [0:0]", blamed), _chain_rules(name, content)
        if not content:
            deleted.append(Block(f"-X {name}", blamed))
        kind = own.get(name[: name.find("-", len("KUBE-")) + 1])
        if kind is None:
            declared.append(declaration)
            rules += filled
        else:
            kind.append([declaration, *filled])
    declared += [_guest_line(change.key) for change in sorted(changes.guest, key=lambda c: c.key)]
    chains = (block for kind in own.values() for blocks in reversed(kind) for block in blocks)
    hooks = [_hook_lines(table, name, members, groups, keep=keep) for name, members in sorted(changes.builtin.items())]
    return [*declared, *chains, *rules, *flatten.from_iterable(hooks), *deleted]


def _guest_line(key: Key) -> Block:
    assert isinstance(key, RuleKey)
    return Block(f"-A {key.chain} {key.rule}" if key.rule else f"-N {key.chain}", key)


def _chain_rules(name: str, content: Content) -> Iterable[Block]:
    prefix = f"-A {name} "
    if len(content) == 1:
        ((key, value),) = content.items()
        assert isinstance(key, RuleKey)
        if not key.rule:
            return (Block(value, key, prefix),) if value else ()
    rules = sorted((key for key in content if isinstance(key, RuleKey) and key.rule), key=attrgetter("rule"))
    return [Block(key.rule, key, prefix) for key in rules]


def _hook_lines(
    table: str, name: str, changes: Sequence[Change[Key, Value]], groups: Mapping[Hashable, Content], *, keep: bool
) -> list[Block]:
    """Return a built-in chain's lines: hooks that go are deleted; if any is new, all are taken out and inserted again in their order."""
    wanted = [key for key in groups.get((table, name), {}) if isinstance(key, RuleKey)]
    known = {c.key: c.before for c in changes}
    lines: list[Block] = []
    for change in changes:
        if _is_deletion(change) and not keep:
            lines += _delete_hook(change.key, change.before)
    if not all(map(_is_deletion, changes)):
        for key in wanted:
            lines += _delete_hook(key, known.get(key, ""))
        wanted.sort(key=lambda key: names.HOOK_PLACE.get(key, -1))
        lines += [Block(f"-I {name} {key.rule}", key) for key in wanted]
    return lines


def _delete_hook(key: Key, before: Value | Mark) -> list[Block]:
    """Return a deletion for each copy that is there; one where nobody knows (the kernel passes over it if it fails)."""
    if before is ABSENT or not isinstance(key, RuleKey):
        return []
    return [Block(f"-D {key.chain} {key.rule}", key)] * (1 if isinstance(before, Mark) else int(before or 1))


def _restore(family: Family, table: str, lines: Sequence[Block]) -> Step | None:
    if not lines:
        return None
    return Step(family, "restore", (Block(f"*{table}", None), *lines, Block("COMMIT", None)), table)


# --- sets ------------------------------------------------------------------------------------------------------------


def _set_additions(changes: Sequence[Change[Key, Value]]) -> list[Block]:
    """Return new sets and elements.

    A set with other options is built beside the old one and swapped in, under the rules that use it. ipset does not swap sets of different
    types; such a one can only be somebody's mistake, and is made anew.
    """
    lines: list[Block] = []
    swapped: dict[str, Key] = {}
    for change in changes:
        key = change.key
        if not isinstance(key, SetKey) or isinstance(change.after, Mark):
            continue
        if key.element:
            name = f"{key.name}-NEW" if key.name in swapped else key.name
            lines.append(Block(f"add {name} {key.element} -exist", key))
        elif isinstance(change.before, Mark):
            lines.append(Block(f"create {key.name} {change.after} -exist", key))
        elif _kind(change.before) == _kind(change.after):
            swapped[key.name] = key
            lines.append(Block(f"create {key.name}-NEW {change.after} -exist", key))
        else:
            lines += [Block(f"destroy {key.name}", key), Block(f"create {key.name} {change.after}", key)]
    for name, key in swapped.items():
        lines += [Block(f"swap {name}-NEW {name}", key), Block(f"destroy {name}-NEW", key)]
    return lines


def _kind(value: Value) -> list[str]:
    """Return what two sets must have in common to be swapped: type and family."""
    return value.split()[:3]


def _set_deletions(changes: Sequence[Change[Key, Value]]) -> list[Block]:
    gone = {c.key.name for c in changes if isinstance(c.key, SetKey) and not c.key.element and _is_deletion(c)}
    lines: list[Block] = []
    for change in changes:
        key = change.key
        if not isinstance(key, SetKey) or not _is_deletion(change):
            continue
        if not key.element:
            lines.append(Block(f"destroy {key.name}", key))  # fails as a whole while rules of the other variant still use the set
        elif key.name not in gone:
            lines.append(Block(f"del {key.name} {key.element} -exist", key))
    return lines


def _ipset(family: Family, lines: Sequence[Block]) -> Step | None:
    if not lines:
        return None
    return Step(family, "ipset", tuple(lines))
