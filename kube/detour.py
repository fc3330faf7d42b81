"""Which HTTP proxy leads to the API server, as Go programs read it from the environment. Pure.

kubeadm hands HTTPS_PROXY and NO_PROXY on to kube-proxy, and NO_PROXY usually names the cluster's networks by CIDR. Python's own reading of
that variable knows no CIDRs and would send the agent's requests to the proxy. So the rules are Go's: one of the variables by the URL's
scheme, in upper or lower case; loopback addresses are reached directly; NO_PROXY lists addresses, CIDRs and names, each with or without a
port, a name stands for its subdomains too, with a dot or `*.` before it for those alone, and `*` for everything. A kubeconfig's proxy-url
goes before all of this.

`access` asks. Source: golang.org/x/net/http/httpproxy.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy's URL, None if the server is reached directly."""
    target = urlsplit(url)
    host = (target.hostname or "").lower()
    proxy = _variable(environ, f"{target.scheme}_proxy")
    if not proxy or not host or _is_loopback(host):
        return None
    port = target.port or _PORTS.get(target.scheme, 0)
    if any(_spared(entry.strip().lower(), host, port) for entry in _variable(environ, "no_proxy").split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _spared(entry: str, host: str, port: int) -> bool:
    """Return whether one entry of NO_PROXY means this host and port."""
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, only = _split(entry)
    if only not in {0, port}:
        return False
    if address is not None:
        return _address(name) == address
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, int]:
    """Return an entry's host and port, 0 if it names none."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, _number(rest.removeprefix(":"))
    name, colon, port = entry.rpartition(":")
    return (name, _number(port)) if colon and ":" not in name else (entry, 0)


def _number(text: str) -> int:
    """Return a port, 0 for none, -1 for what is no port and so means nothing."""
    if not text:
        return 0
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
