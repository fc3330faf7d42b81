"""What DNS on a node is set to where nobody says otherwise. Pure.

The Corefile is kubeadm's, with what is a node's own: health and readiness at the local address, for this process shares the host's ports
(OBS-32), and metrics on loopback, at NodeLocal's port.
"""

from typing import Final

ADDRESSES: Final = ("169.254.20.10", "fd53::20:10")
"""Where pods may ask besides the cluster's DNS address: NodeLocal's usual one, and one of IPv6."""

SERVICE: Final = "kube-system/kube-dns"
DOMAIN: Final = "cluster.local"

_TEXT: Final = """\
.:53 {
    errors
    health %(address)s:8080
    ready %(address)s:8181
    kubernetes %(domain)s in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus 127.0.0.1:9253
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
"""


def corefile(domain: str, addresses: tuple[str, ...]) -> str:
    """Return the text of the Corefile for a cluster domain and the local addresses of a node."""
    first = next(iter(addresses), "127.0.0.1")
    return _TEXT % {"domain": domain, "address": f"[{first}]" if ":" in first else first}
