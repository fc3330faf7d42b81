"""Whether a rule takes a packet: certainly, certainly not, by chance, or nobody can say. Pure.

A `Flight` is the first packet of a connection on its way through the tables: what it is, and what rules have done to it so far. `chance`
answers with a probability; None stands for a match that only a real packet meets (a rate limit, who was here before, which process sent
it). One part of a rule that certainly does not match settles it, whatever the others are. The source port is not known: it counts as
one that a client's kernel would choose.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address

from msgspec import Struct
from pointsman.dataplane.trace import Evidence
from pointsman.iptables.rule import Match, Rule
from pointsman.iptables.setlist import SavedSet, member, spelled

_EPHEMERAL = 32768
_NEW_STATES = frozenset({"NEW"})


class Flight(Struct, frozen=True):
    """A packet on its way: `chance` is how likely it got here, `mark` and destination are as rules have left them.

    `went_in` and `goes_out` are interfaces, None while nobody knows; `translated` and `masqueraded` say what nat has done, `ipvs` that IPVS
    has taken it; `via` is what it met, `doubts` what could not be judged. `spared` are rules that may have taken it past what follows, but
    cannot be judged, each with the depth of the chain that it may have left (-1: the whole hook): doubts if what follows decides. `hazy`
    are bits of the mark that may be the other way round, each with the rule that cannot be judged: doubts if a later rule asks for them.
    """

    source: str
    destination: str
    protocol: str
    port: int
    went_in: str | None = ""
    goes_out: str | None = ""
    mark: int = 0
    chance: float = 1.0
    translated: bool = False
    masqueraded: bool = False
    untracked: bool = False
    ipvs: bool = False
    via: tuple[Evidence, ...] = ()
    doubts: tuple[str, ...] = ()
    spared: tuple[tuple[int, str], ...] = ()
    hazy: tuple[tuple[int, str], ...] = ()


    @property
    def hazy_bits(self) -> int:
        """Return the bits of the mark that are not certain."""
        found = 0
        for bits, _ in self.hazy:
            found |= bits
        return found


class Place(Struct, frozen=True):
    """What matches ask beside the packet: this node's addresses, and the ipsets."""

    local: frozenset[str]
    sets: Mapping[str, SavedSet]

    def is_local(self, address: str) -> bool:
        """Return whether an address is this node's (addrtype LOCAL)."""
        return address in self.local or ip_address(address).is_loopback


def chance(rule: Rule, flight: Flight, place: Place) -> float | None:
    """Return how likely a rule takes a packet; None if that cannot be told."""
    if not (
        _within(rule.source, flight.source) and _within(rule.destination, flight.destination)
        and rule.protocol in {"", "all", flight.protocol} | _other_protocols(rule.protocol, flight.protocol)
    ):  # fmt: skip
        return 0.0
    answers = [_interface(rule.input_interface, flight.went_in), _interface(rule.output_interface, flight.goes_out)]
    for match in rule.matches:
        answers.append(_answer(match, flight, place))
        if answers[-1] == 0.0:
            return 0.0
    if 0.0 in answers:
        return 0.0
    found = 1.0
    for answer in answers:
        if answer is None:
            return None
        found *= answer
    return found


def _other_protocols(asked: str, protocol: str) -> set[str]:
    """Return the text of a negated protocol that lets this one in."""
    return {asked} if asked.startswith("! ") and asked[2:] != protocol else set()


def _within(asked: str, address: str) -> bool:
    """Return whether an address is in `net/mask`, whose mask may have holes, or outside of it if negated."""
    if not asked:
        return True
    negated, asked = asked.startswith("! "), asked.removeprefix("! ")
    base, _, mask = asked.partition("/")
    found = ip_address(address)
    first = ip_address(base)
    if first.version != found.version:
        return negated
    width = first.max_prefixlen
    bits = (1 << width) - (1 << (width - int(mask))) if mask.isdigit() else int(ip_address(mask)) if mask else (1 << width) - 1
    return ((int(found) & bits) == (int(first) & bits)) is not negated


def _interface(asked: str, name: str | None) -> float | None:
    if not asked:
        return 1.0
    if name is None:
        return None
    negated, asked = asked.startswith("! "), asked.removeprefix("! ")
    fits = name.startswith(asked[:-1]) if asked.endswith("+") else name == asked
    return float(fits is not negated)


# --- matches ---------------------------------------------------------------------------------------------------------


def _answer(match: Match, flight: Flight, place: Place) -> float | None:
    answer = _MATCHES.get(match.name)
    return answer(match.options, flight, place) if answer else None


def _pairs(options: Sequence[str]) -> list[tuple[bool, str, tuple[str, ...]]]:
    """Return options as (negated, name, values)."""
    found: list[tuple[bool, str, tuple[str, ...]]] = []
    negated = False
    for word in options:
        if word == "!":
            negated = True
        elif word.startswith("--"):
            found.append((negated, word, ()))
            negated = False
        elif found:
            last = found[-1]
            found[-1] = (last[0], last[1], (*last[2], word))
    return found


def _all(answers: list[float | None]) -> float | None:
    if 0.0 in answers:
        return 0.0
    return None if None in answers else 1.0


def _always(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    return 1.0


def _transport(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    """Return the answer of `tcp`, `udp`, `sctp` and `multiport`."""
    answers: list[float | None] = []
    for negated, name, values in _pairs(options):
        match name:
            case "--dport" | "--dports" | "--destination-ports":
                answers.append(float(_in_ports(values[0], flight.port) is not negated))
            case "--sport" | "--sports":
                answers.append(_source_port(values[0], negated=negated))
            case "--ports":
                answers.append(1.0 if _in_ports(values[0], flight.port) and not negated else None)
            case "--tcp-flags":
                answers.append(float((values[-1] == "SYN") is not negated))
            case _:
                answers.append(None)
    return _all(answers)


def _in_ports(text: str, port: int) -> bool:
    for part in text.split(","):
        first, colon, last = part.partition(":")
        if int(first or 0) <= port <= int((last or 65535) if colon else first):
            return True
    return False


def _source_port(text: str, *, negated: bool) -> float | None:
    """Return whether a port that a client's kernel chooses is among those asked; None if some are and some are not."""
    if text in {"0:65535", "1024:65535", "1:65535"}:
        return float(not negated)
    if all(int(part.partition(":")[2] or part.partition(":")[0]) < _EPHEMERAL for part in text.split(",")):
        return float(negated)
    return None


def _state(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    answers: list[float | None] = []
    for negated, name, values in _pairs(options):
        if name not in {"--ctstate", "--state"}:
            answers.append(None)
            continue
        has = {"UNTRACKED"} if flight.untracked else set(_NEW_STATES)
        has |= {"DNAT"} if flight.translated else set()
        has |= {"SNAT"} if flight.masqueraded else set()
        answers.append(float(bool(has & set(values[0].split(","))) is not negated))
    return _all(answers)


def _mark(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    [(negated, _, values)] = _pairs(options)
    value, _, mask = values[0].partition("/")
    bits, hazy = int(mask, 0) if mask else 0xFFFFFFFF, flight.hazy_bits
    if (flight.mark & bits ^ int(value, 0)) & ~hazy:
        return float(negated)
    return None if bits & hazy else float(not negated)


def _address_type(options: Sequence[str], flight: Flight, place: Place) -> float | None:
    answers: list[float | None] = []
    for negated, name, values in _pairs(options):
        if name not in {"--src-type", "--dst-type"} or values[0] not in {"LOCAL", "UNICAST", "BROADCAST", "MULTICAST"}:
            answers.append(None)
            continue
        address = flight.source if name == "--src-type" else flight.destination
        kind = "LOCAL" if place.is_local(address) else "MULTICAST" if ip_address(address).is_multicast else "UNICAST"
        answers.append(float((kind == values[0]) is not negated))
    return _all(answers)


def _set(options: Sequence[str], flight: Flight, place: Place) -> float | None:
    answers: list[float | None] = []
    for negated, name, values in _pairs(options):
        if name == "--match-set":
            inside = member(place.sets.get(values[0]), words(place.sets.get(values[0]), values[1], flight))
            answers.append(None if inside is None else float(inside is not negated))
        elif not name.startswith("--return-"):
            answers.append(None)
    return _all(answers)


def words(found: SavedSet | None, directions: str, flight: Flight) -> list[str]:
    """Return a packet's parts as a set has them: `dst,dst,src` names the end for each."""
    ends = {"src": (flight.source, 0), "dst": (flight.destination, flight.port)}
    parts = found.parts if found else ()
    return [spelled(kind, ends[way][0], flight.protocol, ends[way][1]) for kind, way in zip(parts, directions.split(","), strict=False)]


def _statistic(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    found = {name: (negated, values) for negated, name, values in _pairs(options)}
    if "--probability" in found:
        negated, values = found["--probability"]
        return 1 - float(values[0]) if negated else float(values[0])
    return 1 / int(found["--every"][1][0]) if "--every" in found else None


def _recent(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    """Return the answer for a client that was not here before: who was is known to a real packet only."""
    return 1.0 if "--set" in options else 0.0


def _ipvs(options: Sequence[str], flight: Flight, place: Place) -> float | None:  # noqa: ARG001
    answers = [float(flight.ipvs is not negated) if name == "--ipvs" else None for negated, name, _ in _pairs(options)]
    return _all(list(answers))


_MATCHES: Mapping[str, Callable[[Sequence[str], Flight, Place], float | None]] = {
    "comment": _always, "tcp": _transport, "udp": _transport, "sctp": _transport, "multiport": _transport,
    "conntrack": _state, "state": _state, "mark": _mark, "addrtype": _address_type, "set": _set, "statistic": _statistic,
    "recent": _recent, "ipvs": _ipvs,
}  # fmt: skip
