"""What a name stands for, and why: the search path of a pod, name by name, until a Service answers. Pure.

A name with fewer than five dots is tried with each part of the search path first, as every pod's resolv.conf asks (`ndots:5`). What a
Service's name resolves to follows from its type: the cluster IPs, or each endpoint of a headless one, or another name. The answers here are
those of the objects that are known; whether a DNS server gives the same is another question.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

DOTS = 5
DOMAIN = "cluster.local"


class Attempt(Struct, frozen=True):
    """One name that was tried, and what became of it."""

    name: str
    result: str


class Resolution(Struct, frozen=True, rename="camel"):
    """What was tried, the Service that answered (`namespace`, `name`; empty if none), its addresses, and what to know about it."""

    attempts: tuple[Attempt, ...]
    namespace: str = ""
    name: str = ""
    addresses: tuple[str, ...] = ()
    remark: str = ""


class Named(Struct, frozen=True):
    """A Service as names see it: `kind` is its type, `endpoints` are those of a headless one."""

    namespace: str
    name: str
    kind: str
    cluster_ips: tuple[str, ...]
    external_name: str = ""
    endpoints: tuple[str, ...] = ()


def resolve(asked: str, namespace: str, services: Iterable[Named], domain: str = DOMAIN) -> Resolution:
    """Return what a name stands for in a pod of a namespace."""
    known = {(one.namespace, one.name): one for one in services}
    attempts: list[Attempt] = []
    for candidate in candidates(asked, namespace, domain):
        found = _service(candidate, known, domain)
        if found is not None:
            addresses, result, remark = _stands_for(found)
            attempts.append(Attempt(candidate, result))
            return Resolution(tuple(attempts), found.namespace, found.name, addresses, remark)
        attempts.append(Attempt(candidate, "no such name" if candidate.endswith(f".{domain}") else "asked upstream"))
    return Resolution(tuple(attempts), remark=_lost(asked, namespace, known))


def candidates(asked: str, namespace: str, domain: str = DOMAIN) -> tuple[str, ...]:
    """Return the names that a pod's resolver tries, in order, without the dot at the end."""
    plain = asked.rstrip(".").lower()
    if asked.endswith("."):
        return (plain,)
    searched = tuple(f"{plain}.{suffix}" for suffix in (f"{namespace}.svc.{domain}", f"svc.{domain}", domain))
    return (*searched, plain) if plain.count(".") < DOTS else (plain, *searched)


def meant(asked: str, namespace: str, domain: str = DOMAIN) -> tuple[tuple[str, str], ...]:
    """Return the Services, by namespace and name, that a name may stand for in a pod of a namespace, in the order of trial."""
    found = (_place(candidate, domain) for candidate in candidates(asked, namespace, domain))
    return tuple(one for one in found if one is not None)


def _service(candidate: str, known: Mapping[tuple[str, str], Named], domain: str) -> Named | None:
    place = _place(candidate, domain)
    return known.get(place) if place is not None else None


def _place(candidate: str, domain: str) -> tuple[str, str] | None:
    suffix = f".svc.{domain}"
    name, _, namespace = candidate.removesuffix(suffix).partition(".")
    return (namespace, name) if candidate.endswith(suffix) and namespace and "." not in namespace else None


def _stands_for(one: Named) -> tuple[tuple[str, ...], str, str]:
    if one.kind == "ExternalName":
        text = f"CNAME {one.external_name}"
        return (), text, f"Service {one.namespace}/{one.name} is only another name for {one.external_name}: no proxy has a part in it"
    addresses = tuple(ip for ip in one.cluster_ips if ip not in {"", "None"})
    if addresses:
        return addresses, f"Service {one.namespace}/{one.name}: {', '.join(addresses)}", ""
    shown = ", ".join(one.endpoints) or "no ready endpoint"
    remark = f"Service {one.namespace}/{one.name} is headless: its name gives the endpoints themselves, and no proxy has a part in it"
    return one.endpoints, f"headless: {shown}", remark


def _lost(asked: str, namespace: str, known: Mapping[tuple[str, str], Named]) -> str:
    first = asked.partition(".")[0].lower()
    elsewhere = sorted(where for where, name in known if name == first)
    if elsewhere:
        there = f"there is {first} in {', '.join(elsewhere)}: try {first}.{elsewhere[0]}"
        return f"no Service answers to it from namespace {namespace}; {there}"
    return f"no Service is called {first}; the cluster's DNS asks its upstream servers"
