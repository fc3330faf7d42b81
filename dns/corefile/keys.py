"""Keys of server blocks and the zones that they and plugins' arguments name (COR-10 to COR-13).

A zone is text here, lower case and absolute (`cluster.local.`), because people wrote it and messages show it. A network (`10.96.0.0/12`)
stands for its reverse zones, cut at octets or nibbles: sixteen zones for a /12. Chains turn zones into wire names.
"""

import ipaddress
import re
from collections.abc import Iterator

from msgspec import Struct

PORTS = {"dns": 53, "tls": 853, "https": 443, "grpc": 443, "quic": 853, "doh3": 443, "https3": 443}
"""Default port of each kind of listener that CoreDNS knows; this resolver serves the first."""


class Key(Struct, frozen=True):
    """What a server block serves: a zone, on a port."""

    zone: str
    port: int = 53
    scheme: str = "dns"

    def __str__(self) -> str:
        """Return the key as it is printed when the server starts (OBS-41)."""
        return f"{'' if self.scheme == 'dns' else self.scheme + '://'}{self.zone}:{self.port}"


def keys(text: str) -> tuple[Key, ...]:
    """Return the keys that a text stands for; ValueError says what is wrong with it."""
    scheme, separator, rest = text.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("dns", text)
    if scheme not in PORTS:
        raise ValueError(f"'{text}' begins with an unknown scheme: write dns:// or nothing")
    if "/" in rest and not re.search(r"/\d+\]?(:\d+)?$", rest):
        raise ValueError(f"'{text}' has a path: a key is a zone, or a network such as 10.0.0.0/8, and perhaps a port")
    host, port = rest, PORTS[scheme]
    if found := re.fullmatch(r"(.*?):(\d*)", rest) if rest.count(":") == 1 else re.fullmatch(r"(\[.*\](?:/\d+)?|[^\[]*/\d+):(\d+)", rest):
        host = found[1] or "."
        if not found[2].isdigit() or not 0 <= int(found[2]) <= 65535:
            raise ValueError(f"'{text}': the port is a number from 1 to 65535")
        port = int(found[2])
    elif rest.count(":") == 1:
        raise ValueError(f"'{text}': the port is a number from 1 to 65535")
    return tuple(Key(zone, port, scheme) for zone in zones(host.replace("[", "").replace("]", "")))


def zones(text: str) -> tuple[str, ...]:
    """Return the zones that a text stands for: one for a name, the reverse zones for a network; ValueError says what is wrong."""
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"'{text}' is neither a zone nor a network: networks are written like 10.96.0.0/12") from None
        return tuple(_reverse(network))
    return (zone(text),)


def zone(text: str) -> str:
    """Return a name in lower case and absolute; ValueError if it cannot be one."""
    if any(ord(character) <= 32 for character in text):
        raise ValueError(f"'{text}' is not a domain name: it has a space or control character")
    name = text.lower().removesuffix(".") if not text.endswith("\\.") else text.lower()
    try:
        labels = [part.encode("idna") if not part.isascii() else part.encode() for part in name.split(".")] if name else []
    except UnicodeError:
        raise ValueError(f"'{text}' is not a domain name") from None
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"'{text}' is not a domain name: each label between dots has 1 to 63 characters")
    if sum(len(label) + 1 for label in labels) > 254:
        raise ValueError(f"'{text}' is not a domain name: it is longer than 253 characters")
    return ".".join(label.decode() for label in labels) + "."


def is_reverse(name: str) -> bool:
    """Return whether a zone belongs to the names of addresses."""
    return name.endswith((".in-addr.arpa.", ".ip6.arpa.")) or name in {"in-addr.arpa.", "ip6.arpa."}


def within(name: str, zone_: str) -> bool:
    """Return whether a name equals a zone or lies below it; both lower case and absolute."""
    return zone_ in {".", name} or name.endswith("." + zone_)


def _reverse(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Iterator[str]:
    """Yield the reverse zones of a network, in ascending order."""
    step, suffix = (8, "in-addr.arpa.") if network.version == 4 else (4, "ip6.arpa.")
    length = -(-network.prefixlen // step) * step
    for part in network.subnets(new_prefix=length):
        labels = str(part.network_address).split(".") if network.version == 4 else list(part.network_address.exploded.replace(":", ""))
        yield ".".join([*reversed(labels[: length // step]), suffix])
