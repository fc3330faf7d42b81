"""A packet's walk through a rule set as it was read, with everybody's rules: what netfilter does, told with evidence. Pure.

A hook's table is entered with flights and left with those that go on and those that ended. Where a rule takes a packet by chance, the
flight parts in two. A jump that came back without having changed anything leaves no evidence behind, so what remains is what decided.
A rule that may end a packet's way or change its source, but cannot be judged, leaves a doubt; one that may let it pass leaves a doubt if
a later rule of what it would have passed decides, and one that makes the mark uncertain if a later rule asks for that. The walk goes on
as if such a rule did not take the packet. Chains that call each other for ever are cut off.

`passage` takes flights through the hooks in the kernel's order; the modes build their tracers from it.
"""

from collections.abc import Callable, Iterable, Iterator
from re import compile as pattern
from typing import Final

from msgspec import Struct, structs
from pointsman.dataplane.trace import Evidence
from pointsman.iptables import matching
from pointsman.iptables.matching import Flight, Place
from pointsman.iptables.rule import Rule
from pointsman.iptables.ruleset import Ruleset, SavedRule

DEEPEST: Final = 16
_ASKED: Final = pattern(r"(! )?--match-set (\S+) (\S+)")
_NEXT: Final = frozenset({"", "LOG", "NFLOG", "ULOG", "TRACE", "CT", "NOTRACK", "CONNMARK", "TCPMSS", "CHECKSUM", "AUDIT", "TOS", "DSCP"})
_QUOTED: Final = pattern(r'"(?:[^"\\]|\\.)*"')
_TARGET: Final = pattern(r"(?:^| )-[jg] (\S+)")
_HOOK: Final = -1
"""The depth of what ACCEPT leaves: all chains of the hook."""
_DECIDES: Final = frozenset({
    "DROP", "REJECT", "TPROXY", "NFQUEUE", "QUEUE", "DNAT", "REDIRECT", "STEAL", "MASQUERADE", "SNAT", "NETMAP", "NOTRACK",
})  # fmt: skip
_ALL_BITS: Final = 0xFFFFFFFF


IsOurs = Callable[[str, str, str], bool]
"""Whether a rule is this program's, by table, chain and text."""


class Ended(Struct, frozen=True):
    """A flight whose way ended: `how` is DROP or REJECT."""

    flight: Flight
    how: str


class Left(Struct):
    """What left a chain: flights that go on in the caller, those that the table accepts, those that returned by goto, those that ended."""

    on: list[Flight] = []
    accepted: list[Flight] = []
    ended: list[Ended] = []


class _Visit(Struct):
    """A chain being walked: of which rule set, how deep, and what has left it."""

    rules: Ruleset
    depth: int
    left: Left


class Walk:
    """Rule sets and what matches ask; `is_ours` tells whether a rule is this program's."""

    def __init__(self, rulesets: Iterable[Ruleset], place: Place, is_ours: IsOurs) -> None:
        self.rulesets = tuple(rulesets)
        self.place = place
        self._is_ours = is_ours

    def hook(self, table: str, chain: str, flights: Iterable[Flight]) -> tuple[list[Flight], list[Ended]]:
        """Return the flights that pass a hook's table in every rule set, and those that end there."""
        going, ended = list(flights), []
        for rules in self.rulesets:
            if rules.chain(table, chain) is None:
                continue
            passed: list[Flight] = []
            for flight in going:
                left = self._chain(rules, table, chain, flight, 0)
                policy = self._policy(rules, table, chain, left.on)
                passed += [_outside(one, _HOOK) for one in left.accepted + policy.accepted]
                ended += left.ended + policy.ended
            going = passed
        return going, ended

    def _policy(self, rules: Ruleset, table: str, chain: str, flights: list[Flight]) -> Left:
        found = rules.chain(table, chain)
        if found is None or found.policy != "DROP":
            return Left(accepted=flights)
        said = Evidence(f"{table} {chain} policy", f":{chain} DROP", "drops what no rule has accepted", ours=False)
        return Left(ended=[Ended(structs.replace(_decided(one), via=(*one.via, said)), "DROP") for one in flights])

    def _chain(self, rules: Ruleset, table: str, chain: str, flight: Flight, depth: int) -> Left:
        visit, going = _Visit(rules, depth, Left()), [flight]
        if depth > DEEPEST:
            return Left(on=[structs.replace(flight, doubts=(*flight.doubts, f"{table} {chain}: chains call each other without end"))])
        for saved in rules.rules(table, chain):
            following: list[Flight] = []
            for one in going:
                following += self._rule(saved, one, visit)
            going = following
            if not going:
                break
        visit.left.on = [_outside(one, depth) for one in visit.left.on + going]
        return visit.left

    def _rule(self, saved: SavedRule, flight: Flight, visit: _Visit) -> list[Flight]:
        """Return the flights that go on to the next rule; what leaves the chain is put into the visit."""
        try:
            rule, gone = saved.read()
        except ValueError:
            return [_doubting(flight, f"{saved.where} cannot be read: {saved.text}")]
        odds = matching.chance(rule, flight, self.place)
        if odds is None and flight.hazy:
            odds = matching.chance(rule, structs.replace(flight, hazy=()), self.place)
            if odds is not None:
                flight = doubting_mark(flight) if rule.target not in _NEXT else flight
        if odds == 0.0:
            return [flight]
        if odds is None:
            return [self._unsure(saved, rule.target, flight, visit, gone=gone)]
        taken = structs.replace(flight, chance=flight.chance * odds)
        rest = [structs.replace(flight, chance=flight.chance * (1 - odds))] if odds < 1.0 else []
        return self._target(saved, rule, taken, visit, gone=gone) + rest

    def _unsure(self, saved: SavedRule, target: str, flight: Flight, visit: _Visit, *, gone: bool) -> Flight:
        """Return a flight after a rule of which nobody can say whether it takes it."""
        said = f"{saved.where} may take it: {saved.text}"
        may = tuple(_reachable(visit.rules, saved))
        if any(_decides(rule) for rule in may):
            return _doubting(flight, said)
        bits = self._may_mark(flight, may)
        if bits:
            flight = structs.replace(flight, hazy=(*flight.hazy, (bits, said)))
        if any("ACCEPT" in _targets(rule) for rule in may):
            return structs.replace(flight, spared=(*flight.spared, (_HOOK, said)))
        if gone or target == "RETURN":
            return structs.replace(flight, spared=(*flight.spared, (visit.depth, said)))
        return flight

    def _may_mark(self, flight: Flight, rules: Iterable[SavedRule]) -> int:
        """Return the bits of the mark that some of these rules change."""
        bits = 0
        for one in rules:
            if _targets(one) & {"MARK", "SET"}:
                try:
                    rule, _ = one.read()
                except ValueError:
                    return _ALL_BITS
                bits |= flight.mark ^ self._mark_after(flight, rule.target, rule.target_options)[0]
        return bits

    def _target(self, saved: SavedRule, rule: Rule, flight: Flight, visit: _Visit, *, gone: bool) -> list[Flight]:
        target, options, left = rule.target, rule.target_options, visit.left
        if visit.rules.chain(saved.table, target) is not None:
            inner = self._chain(visit.rules, saved.table, target, self._met(flight, saved, f"goes on in {target}"), visit.depth + 1)
            left.accepted += inner.accepted
            left.ended += inner.ended
            back = [structs.replace(flight, spared=one.spared) if _unchanged(one, flight) else one for one in inner.on]
            left.on += back if gone else []
            return [] if gone else back
        if target in {"DROP", "REJECT"}:
            left.ended.append(Ended(self._met(_decided(flight), saved, "drops it" if target == "DROP" else "rejects it"), target))
        elif target == "ACCEPT":
            left.accepted.append(self._met(flight, saved, "accepts it") if not _plain(rule) else flight)
        elif target == "RETURN":
            left.on.append(flight)
        elif target in {"DNAT", "REDIRECT"}:
            left.accepted.append(self._translated(_decided(flight), saved, rule))
        elif target in {"MASQUERADE", "SNAT"}:
            said = "masquerades it" if target == "MASQUERADE" else f"changes its source: {' '.join(options)}"
            left.accepted.append(structs.replace(self._met(_decided(flight), saved, said), masqueraded=True))
        else:
            return [self._passing(flight, saved, target, options)]
        return []

    def _passing(self, flight: Flight, saved: SavedRule, target: str, options: tuple[str, ...]) -> Flight:
        """Return a flight after a target that lets it go on."""
        mark, bits = self._mark_after(flight, target, options)
        if bits or mark != flight.mark:
            silent = mark == flight.mark and target == "MARK"
            flight = _marked(flight, mark, bits)
            return flight if silent else self._met(flight, saved, f"sets the mark {mark:#x}")
        if target == "NOTRACK" or (target == "CT" and "--notrack" in options):
            return structs.replace(self._met(_decided(flight), saved, "takes it out of connection tracking"), untracked=True)
        if target in _NEXT or target in {"SET", "MARK"}:
            return flight
        return _doubting(flight, f"{saved.where} has target {target}, which is not covered here: {saved.text}")

    def _mark_after(self, flight: Flight, target: str, options: tuple[str, ...]) -> tuple[int, int]:
        """Return the mark after a target, and which bits it determines whatever they were (none if it is no such target)."""
        if target == "MARK" and options[:1] == ("--set-xmark",):
            value, _, mask = options[1].partition("/")
            bits = int(mask or hex(_ALL_BITS), 0)
            return flight.mark & ~bits ^ int(value, 0), bits
        if target == "SET" and "--map-mark" in options:
            found = self.place.sets.get(options[1])
            element = found.find(matching.words(found, options[2], flight)) if found else None
            carried = found.elements[element] if found and element else ""
            mark = int(carried.removeprefix("skbmark ").partition("/")[0] or "0", 0) if carried.startswith("skbmark ") else flight.mark
            return mark, _ALL_BITS
        return flight.mark, 0

    def _translated(self, flight: Flight, saved: SavedRule, rule: Rule) -> Flight:
        options = rule.target_options
        address, port = flight.destination, flight.port
        if rule.target == "REDIRECT":
            address = "::1" if ":" in flight.destination else "127.0.0.1"
            port = int(options[1].partition("-")[0]) if options[:1] == ("--to-ports",) else port
        elif options[:1] == ("--to-destination",):
            address, port = _socket(options[1], port)
        said = f"sends it to {f'[{address}]' if ':' in address else address}:{port}"
        return structs.replace(self._met(flight, saved, said), destination=address, port=port, translated=True)

    def _met(self, flight: Flight, saved: SavedRule, does: str) -> Flight:
        """Return a flight with a rule that took it as evidence, and before it the set elements by which the rule did."""
        ours = self._is_ours(saved.table, saved.chain, saved.text)
        evidence = Evidence(saved.where, saved.text, does, ours, saved.packets, saved.octets)
        members = tuple(self._members(flight, saved, ours=ours))
        return structs.replace(flight, via=(*flight.via, *members, evidence))

    def _members(self, flight: Flight, saved: SavedRule, *, ours: bool) -> Iterator[Evidence]:
        for negated, name, directions in _ASKED.findall(saved.text):
            found = self.place.sets.get(name)
            element = found.find(matching.words(found, directions, flight)) if found and not negated else None
            if found and element:
                yield Evidence(f"set {name}", f"{element} {found.elements[element]}".rstrip(), "is a member", ours)


def _socket(text: str, port: int) -> tuple[str, int]:
    """Return address and port of `--to-destination`; the port stays where none is given."""
    if text.startswith("["):
        address, _, given = text[1:].partition("]")
        return address, int(given[1:]) if given else port
    if text.count(":") > 1:
        return text, port
    address, _, given = text.partition(":")
    return address.partition("-")[0], int(given.partition("-")[0]) if given else port


def _plain(rule: Rule) -> bool:
    return not (rule.matches or rule.source or rule.destination or rule.protocol)


def _targets(rule: SavedRule) -> set[str]:
    return set(_TARGET.findall(_QUOTED.sub("", rule.text)))


def _reachable(rules: Ruleset, saved: SavedRule) -> Iterator[SavedRule]:
    """Yield the rules that a packet may meet from one on: itself, those of the chain it leads to, and of theirs."""
    yield saved
    found = _targets(saved)
    waiting = list(found)
    while waiting:
        for rule in rules.rules(saved.table, waiting.pop()):
            yield rule
            fresh = _targets(rule) - found
            found |= fresh
            waiting += fresh


def _decides(rule: SavedRule) -> bool:
    """Return whether a rule ends the way of a packet that it takes, or changes what nat makes of it."""
    targets = _targets(rule)
    return bool(targets & _DECIDES) or ("CT" in targets and "--notrack" in rule.text)


def _marked(flight: Flight, mark: int, bits: int) -> Flight:
    """Return a flight with a mark of which these bits are certain, unless something may have taken the packet past this."""
    if flight.spared:
        changed = flight.mark ^ mark
        hazy = (*flight.hazy, *((changed, text) for _, text in flight.spared if changed))
    else:
        hazy = tuple((left, text) for one, text in flight.hazy if (left := one & ~bits))
    return structs.replace(flight, mark=mark, hazy=hazy)


def _decided(flight: Flight) -> Flight:
    """Return a flight that a rule decides about: what may have spared it that is a doubt now."""
    return structs.replace(flight, doubts=(*flight.doubts, *(text for _, text in flight.spared)), spared=()) if flight.spared else flight


def _outside(flight: Flight, depth: int) -> Flight:
    """Return a flight that has left a chain of this depth: what may have taken it out of there makes no difference any more."""
    if not flight.spared:
        return flight
    return structs.replace(flight, spared=tuple(one for one in flight.spared if one[0] < depth))


def doubting_mark(flight: Flight) -> Flight:
    """Return a flight that somebody takes by its mark: what makes that uncertain is a doubt now."""
    return structs.replace(_doubting(flight, *(text for _, text in flight.hazy)), hazy=()) if flight.hazy else flight


def _doubting(flight: Flight, *texts: str) -> Flight:
    return structs.replace(flight, doubts=(*flight.doubts, *texts))


def _unchanged(after: Flight, before: Flight) -> bool:
    return all(getattr(after, name) == getattr(before, name) for name in ("mark", "hazy", "untracked", "doubts", "chance", "destination"))
