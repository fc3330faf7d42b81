"""Choosing by rules: a chain that sends each new connection to one of several backends. Pure.

A backend is one DNAT rule, taken with equal probability; the last rule takes what is left. Only session affinity gives each a chain of its
own, whose list of recent clients all chains of the Service port share (SEM-25). `service` does so for every Service, a mode that balances
otherwise for what it must leave to rules.
"""

from collections.abc import Callable

from pointsman.iptables.objects import Key, RuleKey, Value
from pointsman.iptables.rule import WHOLE_ADDRESS, canonical, chance, comment, host
from pointsman.routing.route import Backend, ServicePortName, ServiceRoute

Names = Callable[[ServicePortName, Backend], str]
"""How the chain of an endpoint is called."""


def leading(route: ServiceRoute, address: str, kind: str, target: str) -> str:
    """Return the rule that leads one virtual address of a route to a chain."""
    proto = route.protocol.lower
    note = comment(f"{route.port_name} {kind}")
    return f"-d {host(address)} -p {proto} {note} -m {proto} --dport {route.port} -j {target}"


def balance(found: dict[Key, Value], route: ServiceRoute, chain: str, backends: tuple[Backend, ...], endpoint_chain: Names) -> None:
    """Fill a chain that sends each new connection to one of the backends, with equal probability."""
    proto, count = route.protocol.lower, len(backends)
    note = comment(str(route.port_name))
    if route.affinity_seconds:
        found[RuleKey("nat", chain)] = _sticky(found, route, backends, note, endpoint_chain)
        return
    rules = [f"{chance(count - place)}-j DNAT --to-destination {_socket(backend)}" for place, backend in enumerate(backends)]
    found[RuleKey("nat", chain)] = f"-p {proto} {note} " + f"\n-p {proto} ".join(rules)


def _socket(backend: Backend) -> str:
    return f"[{canonical(backend.address)}]:{backend.port}" if ":" in backend.address else f"{backend.address}:{backend.port}"


def _sticky(found: dict[Key, Value], route: ServiceRoute, backends: tuple[Backend, ...], note: str, endpoint_chain: Names) -> str:
    """Fill the endpoints' chains and return the body of the chain that asks each who was here before, then chooses (IPT-20, IPT-23)."""
    proto, who = route.protocol.lower, f"--mask {WHOLE_ADDRESS[route.family]} --rsource"
    asks: list[str] = []
    choices: list[str] = []
    for place, backend in enumerate(backends):
        chain = endpoint_chain(route.port_name, backend)
        asks.append(f"{note} -m recent --rcheck --seconds {route.affinity_seconds} --reap --name {chain} {who} -j {chain}")
        choices.append(f"{note} {chance(len(backends) - place)}-j {chain}")
        found[RuleKey("nat", chain)] = f"-p {proto} {note} -m recent --set --name {chain} {who} -j DNAT --to-destination {_socket(backend)}"
    return "\n".join(asks + choices)
