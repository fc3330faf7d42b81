"""The kubernetes directive (REC-12 to REC-22)."""

import re

from pointsman.dns.corefile import options
from pointsman.dns.corefile.findings import Findings, WrongError
from pointsman.dns.corefile.keys import is_reverse
from pointsman.dns.corefile.parser import Directive, Line
from pointsman.dns.corefile.values import arguments, block, choice, duration, fallthrough, flag, integer, zones

GONE = {
    "upstream": "it was removed from CoreDNS 1.7; external names go through the server's own blocks anyway: take the line out",
    "resyncperiod": "it was removed from CoreDNS 1.5; the watch needs no resync: take the line out",
    "transfer": "zone transfers are not served; secondaries can follow the API instead: take the line out",
    "federation": "federation was removed from Kubernetes: take the line out",
}
"""What old Corefiles still have (COR-40)."""


def read_kubernetes(directive: Directive, keys: tuple[str, ...], findings: Findings) -> options.KubernetesOptions:
    """Read kubernetes."""
    own = zones(directive.args, keys)
    if all(is_reverse(zone) for zone in own):
        raise WrongError(directive.place, "non-reverse zone name must be used: name the cluster's domain first, such as cluster.local")
    table = {
        "ttl": ("ttl", integer(0, 3600)),
        "pods": ("pods", choice("disabled", "insecure", "verified")),
        "fallthrough": ("fallthrough", fallthrough),
        "endpoint_pod_names": ("endpoint_pod_names", flag),
        "ignore": ("ignore_empty", _ignore),
        "namespaces": ("namespaces", lambda line: tuple(name.lower() for name in arguments(line, 1))),
        "labels": ("labels", _selector),
        "namespace_labels": ("namespace_labels", _selector),
        "noendpoints": ("endpoints", lambda line: not flag(line)),
        "startup_timeout": ("startup_timeout", duration()),
        "zonal": ("zonal", flag),
        "multicluster": ("multicluster", lambda line: zones(line.args)),
        "endpoint": ("server", lambda line: arguments(line, 1)),
        "tls": ("tls", lambda line: arguments(line, 3, 3)),
        "kubeconfig": ("kubeconfig", lambda line: arguments(line, 1, 2)),
        "apiserver_qps": ("_", lambda line: _rate(line, findings)),
        "apiserver_burst": ("_", lambda line: _rate(line, findings)),
        "apiserver_max_inflight": ("_", lambda line: _rate(line, findings)),
    }
    fields = block(directive, table, findings, GONE)
    fields.pop("_", None)
    made = options.KubernetesOptions(place=directive.place, zones=own, **fields)
    _combinations(directive, made, findings)
    return made


def _combinations(directive: Directive, made: options.KubernetesOptions, findings: Findings) -> None:
    """Note options that exclude each other."""
    places = {line.name: line.place for line in directive.lines}
    if made.namespaces and made.namespace_labels:
        findings.error(places["namespace_labels"], "namespaces and namespace_labels cannot both be set: keep one of them")
    if made.zonal and not made.endpoints:
        findings.error(places["zonal"], "zonal needs endpoints: take zonal or noendpoints out")
    if "multicluster" in places and not made.multicluster:
        findings.warning(places["multicluster"], "multicluster names no zone, so it has no effect: write multicluster clusterset.local")
    for zone in made.multicluster:
        if zone not in made.zones:
            text = f"is not authoritative for the multicluster zone {zone}: name it in the line of kubernetes, too"
            findings.error(places["multicluster"], f"{text}, which has {' '.join(made.zones)}")
    if made.ttl == 0:
        findings.warning(places["ttl"], "ttl 0: every client asks again each time; a cache in front still keeps answers for 5 s (CAC-42)")
    if len(made.server) > 1:
        findings.warning(places["endpoint"], f"only the first endpoint is used: {made.server[0]}")
    if made.server and made.kubeconfig:
        findings.warning(places["endpoint"], "endpoint is not used beside kubeconfig")


def _ignore(line: Line) -> bool:
    if arguments(line, 1, 1) != ("empty_service",):
        raise WrongError(line.args[0].place, f"unknown value '{line.args[0].text}' of ignore: there is only empty_service")
    return True


def _selector(line: Line) -> str:
    """Read a label selector; its parts may be separate words."""
    text = " ".join(arguments(line, 1))
    part = r"\s*!?\s*[\w./-]+\s*((=|==|!=|\s+in\s|\s+notin\s)\s*(\([^()]*\)|[\w.-]*))?\s*"
    if not re.fullmatch(rf"{part}(,{part})*", text):
        raise WrongError(line.args[0].place, f"{line.name} '{text}' is not a label selector: write it like app=web,tier in (front,back)")
    return text


def _rate(line: Line, findings: Findings) -> bool:
    (text,) = arguments(line, 1, 1)
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise WrongError(line.args[0].place, f"{line.name} {text}: write a number of at least 0")
    findings.warning(line.place, f"{line.name} has no effect here: one watch per kind is all that the API server sees")
    return True
