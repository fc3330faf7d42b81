"""Faults to plant in a node of the shop, so that somebody can look for them: `pointsman demo --break`, tests, and docs/debugging.md.

A fault is what was done, as the commands that do it in the node's namespace; a question that shows it; and the words by which `explain`,
`diff` and `doctor` name the cause. The agent of the node is stopped before: it would mend most of them within a second.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from pointsman.iptables import names
from pointsman.routing.route import Protocol, ServicePortName

_CHAINS = names.service_chains(ServicePortName("shop", "web", "http", Protocol.TCP))
WEB = _CHAINS.cluster
_LEAF = "KUBE-DST-01"
_POD = "10.244.1.16"
_WEB_IP = "10.96.10.1"
_STATSD = "10.96.10.3"
_REPLY = "--reply-port-src 8125 --reply-port-dst 40000 -t 3600 --status SEEN_REPLY,ASSURED,DST_NAT"


class Fault(Struct, frozen=True):
    """What is planted: its name, what a user sees, what was done, and how.

    `modes` in which it can be planted (empty: in all). `commands` run in the node's namespace, with `{iptables}` for the variant's tool.
    `question` is for `explain`: from, to, protocol. `named` are the words by which each command names the cause.
    """

    name: str
    seen: str
    done: str
    commands: tuple[str, ...]
    question: tuple[str, str, str]
    named: Mapping[str, str]
    modes: tuple[str, ...] = ()

    def steps(self, variant: str) -> tuple[str, ...]:
        """Return the commands for a variant of iptables."""
        return tuple(one.replace("{iptables}", f"iptables-{variant} -w") for one in self.commands)

    @property
    def asked(self) -> str:
        """Return the question as a command."""
        source, target, protocol = self.question
        proto = "" if protocol == "tcp" else f" --protocol {protocol}"
        return f"pointsman explain --from {source} --to {target}{proto}"


_WEB_FROM_TILL = ("pod/shop/till-0", "web.shop:80", "tcp")


def _same(text: str) -> dict[str, str]:
    return dict.fromkeys(("explain", "diff", "doctor"), text)


FAULTS = (
    Fault(
        "deleted-chain",
        "connections to one Service time out or are refused, all others work",
        f"the chain {WEB}, which chooses shop/web's endpoint, and the rules that lead to it were deleted",
        (
            f"{{iptables}} -t nat -F {_LEAF}",
            f"{{iptables}} -t nat -D {_CHAINS.external} -j {WEB}",
            f"{{iptables}} -t nat -F {WEB}",
            f"{{iptables}} -t nat -X {WEB}",
        ),
        _WEB_FROM_TILL,
        _same(f"cluster IP {_WEB_IP}:80 does not lead to its endpoints"),
        ("iptables",),
    ),
    Fault(
        "changed-target",
        "half of the connections to one Service fail",
        f"one rule of {WEB} sends to 10.244.9.9 instead of the endpoint",
        (
            f"{{iptables}} -t nat -R {WEB} 2 -p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination 10.244.9.9:8080",
        ),
        _WEB_FROM_TILL,
        {
            "explain": "the kernel sends to 10.244.9.9:8080, which is no endpoint",
            "diff": "connections go to 10.244.9.9:8080, which is none of its endpoints here",
            "doctor": "connections go to 10.244.9.9:8080, which is none of its endpoints here",
        },
        ("iptables",),
    ),
    Fault(
        "removed-element",
        "connections from the node itself to a cluster IP hang, those of pods work",
        f"the element {_WEB_IP} was taken out of the set of cluster IPs, by which the node's own traffic is masqueraded",
        (f"ipset del POINTSMAN-CLUSTER-IP {_WEB_IP}",),
        ("node", "web.shop:80", "tcp"),
        _same(f"cluster IP {_WEB_IP} is missing in set POINTSMAN-CLUSTER-IP"),
        ("iptables",),
    ),
    Fault(
        "wrong-setting",
        "no pod reaches any endpoint on another node, and nothing from outside gets in",
        "net.ipv4.ip_forward was set to 0",
        ("sysctl -q -w net.ipv4.ip_forward=0",),
        _WEB_FROM_TILL,
        _same("net.ipv4.ip_forward is 0"),
    ),
    Fault(
        "stale-flow",
        "one sender of UDP packets, which keeps its socket, gets no answer; others do",
        "connection tracking holds a flow to an endpoint that is gone (10.244.2.99)",
        (
            f"conntrack -I -p udp -s {_POD} -d {_STATSD} --sport 40000 --dport 8125 -r 10.244.2.99 -q {_POD} {_REPLY}",
        ),
        (_POD, "statsd.monitoring:8125", "udp"),
        _same("10.244.2.99:8125"),
    ),
    Fault(
        "foreign-flush",
        "no Service works on this node any more",
        "another program flushed table nat (as `firewall-cmd --reload` does)",
        ("{iptables} -t nat -F", "{iptables} -t nat -X"),
        _WEB_FROM_TILL,
        _same("packets in PREROUTING (nat) do not reach KUBE-SERVICES: the jump is missing"),
        ("iptables",),
    ),
    Fault(
        "missing-server",
        "one endpoint of a Service gets nothing, the others get its share",
        "the real server 10.244.2.11:8080 was deleted from IPVS",
        (f"ipvsadm -d -t {_WEB_IP}:80 -r 10.244.2.11:8080",),
        _WEB_FROM_TILL,
        _same("endpoint 10.244.2.11:8080 is missing") | {"explain": "the kernel lacks endpoint 10.244.2.11:8080"},
        ("ipvs",),
    ),
    Fault(
        "policy-drop",
        "connections to one Service time out from some pods",
        "a rule as of a network policy drops what goes to port 8080 of pods, above pointsman's rules",
        ("{iptables} -I FORWARD 1 -d 10.244.0.0/16 -p tcp -m tcp --dport 8080 -j DROP",),
        _WEB_FROM_TILL,
        _same("filter FORWARD rule 1"),
        ("iptables",),
    ),
)  # fmt: skip
"""Every fault that can be planted."""


def names_of(faults: Iterable[Fault] = FAULTS) -> tuple[str, ...]:
    """Return their names."""
    return tuple(one.name for one in faults)


def of(mode: str) -> tuple[Fault, ...]:
    """Return the faults that can be planted in a mode."""
    return tuple(one for one in FAULTS if not one.modes or mode in one.modes)
