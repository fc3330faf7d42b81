"""The real servers of very many virtual servers in one reading of /proc: netlink tells them of one virtual server at a time.

At ten thousand virtual servers that is a single pass over a text instead of thirty thousand system calls. The text tells less: no limits
of connections, no details of tunnels, no counters, and not which family a mark is of. Marks are left out, and so is every virtual server
with a real server that does not masquerade or a line that cannot be read; another may be missed if servers are removed meanwhile. The
caller asks netlink for whatever it does not find here, and for everything where that is little.

The parser is pure. Source: net/netfilter/ipvs/ip_vs_ctl.c.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from pointsman.ipvs.objects import Load, RealKey, RealServer, VirtualKey
from pointsman.routing.route import Family, Protocol

PATH: Final = "/proc/thread-self/net/ip_vs"

Found = Mapping[VirtualKey, Mapping[RealKey, tuple[RealServer, Load]]]

_PROTOCOLS: Final = {protocol.value: protocol for protocol in Protocol}
_HEADING: Final = 3
_MASQUERADE: Final = "Masq"


def parse(lines: Iterable[str]) -> Found:
    """Read the lines of the file, heading included; weights, and the connections that a real server has."""
    found: dict[VirtualKey, dict[RealKey, tuple[RealServer, Load]]] = {}
    key: VirtualKey | None = None
    reals: dict[RealKey, tuple[RealServer, Load]] = {}
    for number, line in enumerate(lines):
        if number < _HEADING:
            continue
        words = line.split()
        try:
            if words[0] != "->":
                key = None
                key = _virtual(words[0], words[1])
                if key is not None:
                    reals = found[key] = {}
            elif key is not None:
                _, place, method, weight, active, idle = words
                server = _server(int(weight), method)
                reals[RealKey(key, _address(place[:-5]), int(place[-4:], 16))] = server, _load(int(active), int(idle))
        except (ValueError, IndexError):
            if key is not None:
                del found[key]
            key = None
    return found


def _virtual(protocol: str, place: str) -> VirtualKey | None:
    """Return the virtual server of a line, None for a mark."""
    if protocol not in _PROTOCOLS:
        return None
    family = Family.IPV6 if place[0] == "[" else Family.IPV4
    return VirtualKey(family, _PROTOCOLS[protocol], _address(place[:-5]), int(place[-4:], 16))


def _address(text: str) -> str:
    """Return the address in eight hexadecimal digits, or in brackets."""
    if text[0] == "[":
        return _long(text[1:-1])
    first, second, third, fourth = bytes.fromhex(text)
    return f"{first}.{second}.{third}.{fourth}"


@lru_cache(maxsize=4096)
def _long(text: str) -> str:
    return str(IPv6Address(text))


@lru_cache(maxsize=1024)
def _server(weight: int, method: str) -> RealServer:
    if method != _MASQUERADE:
        raise ValueError(f"{method}: its details are not told")
    return RealServer(weight)


@lru_cache(maxsize=1024)
def _load(active: int, idle: int) -> Load:
    return Load(active, idle)


def read() -> Found:
    """Read the calling thread's network namespace; nothing where there is no such file."""
    try:
        with open(PATH, encoding="ascii", errors="replace") as lines:  # noqa: PTH123 - a file of the kernel, read line by line
            return parse(lines)
    except FileNotFoundError:
        return {}
