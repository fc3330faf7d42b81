"""Netfilter on paper: walks the rules of the iptables mode as the kernel would, every random branch at once.

It knows only what rules say (text, by `rule.parse`), nothing of Services, so what it finds may be held against the oracle.
"""

from fractions import Fraction
from ipaddress import ip_address

from msgspec import Struct, structs
from pointsman.iptables import names, rule
from pointsman.iptables.names import Role
from pointsman.iptables.objects import SetKey


class State(Struct, frozen=True):
    """A packet on its way."""

    source: str
    destination: str
    protocol: str
    port: int
    interface: str
    mark: int = 0
    translated: bool = False
    masqueraded: bool = False


class Tables:
    """The rules of one family on a node with the given local addresses; `hits` counts the rules that were looked at."""

    def __init__(self, entries, local):
        self.local = set(local)
        self.sets = {(key.name, key.element) for key in entries if isinstance(key, SetKey) and key.element}
        self.set_names = {key.name for key in entries if isinstance(key, SetKey) and not key.element}
        self.chains = {}
        self.hits = 0
        for key, value in sorted(((k, v) for k, v in entries.items() if not isinstance(k, SetKey)), key=self._order):
            chain = self.chains.setdefault((key.table, key.chain), [])
            if key.rule:
                chain.append(rule.parse(key.rule))
            elif value:
                chain += [rule.parse(line) for line in value.split("\n")]

    @staticmethod
    def _order(entry):
        key, _ = entry
        if names.role(key.table, key.chain) is Role.BUILTIN:
            return (key.table, key.chain, "", -names.HOOK_PLACE[key])
        return (key.table, key.chain, key.rule, 0)

    def trace(self, packet, number_of_mark=0x4000):
        """Return {(verdict, destination or None, masqueraded): probability} of a packet that opens a connection."""
        start = State(packet.source, packet.destination, packet.protocol.lower, packet.port, packet.interface)
        hooks = [("nat", "PREROUTING" if packet.interface else "OUTPUT")]
        found = {}
        for verdict, state, weight in self._hooks(hooks, start, Fraction(1)):
            assert verdict == "ACCEPT"
            here = self._is_local(state.destination)
            after = [("filter", "INPUT" if here else "FORWARD")] if packet.interface else [("filter", "OUTPUT")]
            if not packet.interface and here:
                after.append(("filter", "INPUT"))
            if not packet.interface or not here:
                after.append(("nat", "POSTROUTING"))
            for final, end, share in self._hooks(after, state, weight):
                target = f"{end.destination} {end.port}" if end.translated and final == "ACCEPT" else None
                key = (final, target, end.masqueraded if final == "ACCEPT" else False)
                found[key] = found.get(key, Fraction(0)) + share
        return found

    def _hooks(self, hooks, state, weight):
        if not hooks:
            return [("ACCEPT", state, weight)]
        results = []
        for verdict, after, share in self._chain(hooks[0], 0, state, weight):
            if verdict in {"DROP", "REJECT"}:
                results.append((verdict, after, share))
            else:
                results += self._hooks(hooks[1:], after, share)
        return results

    def _chain(self, name, place, state, weight):
        """Walk a chain from one of its rules on; yields (verdict or None, state, weight)."""
        rules = self.chains.get(name, [])
        if name[1].startswith("KUBE-"):
            assert name in self.chains, f"{name} does not exist"
        while place < len(rules):
            here = rules[place]
            self.hits += 1
            chance = self._matches(here, state)
            if chance == 0:
                place += 1
                continue
            results = [] if chance == 1 else self._chain(name, place + 1, state, weight * (1 - chance))
            for verdict, after, share in self._target(name[0], here, state, weight * chance):
                results += [(verdict, after, share)] if verdict else self._chain(name, place + 1, after, share)
            return results
        return [(None, state, weight)]

    def _target(self, table, here, state, weight):
        options = here.target_options
        match here.target:
            case "":
                return [(None, state, weight)]
            case "ACCEPT" | "DROP" | "REJECT":
                return [(here.target, state, weight)]
            case "RETURN":
                return [("RETURN", state, weight)]
            case "MARK":
                value, mask = (int(word, 16) for word in options[1].split("/"))
                return [(None, structs.replace(state, mark=(state.mark & ~mask) ^ value), weight)]
            case "DNAT":
                address, _, port = options[1].rpartition(":")
                return [("ACCEPT", structs.replace(state, destination=address.strip("[]"), port=int(port), translated=True), weight)]
            case "MASQUERADE":
                return [("ACCEPT", structs.replace(state, masqueraded=True), weight)]
        results = self._chain((table, here.target), 0, state, weight)
        return [(None if verdict == "RETURN" else verdict, after, share) for verdict, after, share in results]

    def _matches(self, here, state):
        """Return the probability with which a rule matches."""
        parts = (
            (here.source, lambda part: _inside(state.source, part)),
            (here.destination, lambda part: _inside(state.destination, part)),
            (here.input_interface, lambda part: _interface(state.interface, part)),
            (here.protocol, lambda part: state.protocol == part),
        )
        for part, test in parts:
            if part and test(part.removeprefix("! ")) == part.startswith("! "):
                return 0
        chance = Fraction(1)
        for match in here.matches:
            chance *= self._match(match, state)
        return chance

    def _match(self, match, state):
        options = [word for word in match.options if word != "!"]
        negated = "!" in match.options
        match match.name:
            case "comment":
                found = True
            case "tcp" | "udp" | "sctp":
                first, _, last = options[1].partition(":")
                found = state.protocol == match.name and int(first) <= state.port <= int(last or first)
            case "set":
                found = self._in_set(options[1], options[2], state)
            case "conntrack":
                states = set(options[1].split(","))
                found = "NEW" in states or ("DNAT" in states and state.translated)
            case "mark":
                value, mask = (int(word, 16) for word in options[1].split("/"))
                found = state.mark & mask == value
            case "addrtype":
                found = self._is_local(state.source if options[0] == "--src-type" else state.destination)
            case "recent":
                found = "--set" in options
            case "statistic":
                return Fraction(options[-1]).limit_denominator(10_000)
            case _:
                raise AssertionError(match)
        return int(found != negated)

    def _in_set(self, name, directions, state):
        assert name in self.set_names, f"set {name} does not exist"
        if directions == "dst":
            return (name, state.destination) in self.sets
        assert directions == "dst,dst,src"
        return (name, f"{state.destination},{state.protocol}:{state.port},{state.source}") in self.sets

    def _is_local(self, address):
        return address in self.local or ip_address(address).is_loopback


def _inside(address, part):
    net, _, length = part.partition("/")
    number, base = ip_address(address), ip_address(net)
    bits = base.max_prefixlen
    mask = int(ip_address(length)) if not length.isdigit() else ((1 << int(length)) - 1) << (bits - int(length))
    return int(number) & mask == int(base) & mask


def _interface(name, part):
    return name.startswith(part[:-1]) if part.endswith("+") else name == part
