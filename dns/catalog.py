r"""What the resolver knows of the cluster, held compactly: the facts as bytes, found by wire name and by address.

A cluster of 10,000 Services with 10 endpoints each must fit into 8 MB with its indexes, so a fact is kept as the bytes in which it
came and is taken apart when somebody asks for its name; what he gets is then kept as a finished answer (`hot`). The key of a Service is the
wire form of its name and namespace (`\3web\4shop`), which is what stands in every question about it.

`apply` returns tags: what changed, in the words of `reply.Life`. The tag of a Service is its key, of a namespace its wire label, of an
address its number, of a clusterset's Service its key with a zero byte in front.
"""

from collections.abc import Hashable, Iterable

import msgspec
from pointsman.dns.facts import PodFact, ServiceFact, SliceFact
from pointsman.dns.feed import Change, Synced
from pointsman.dns.owners import Owners, number

_encode = msgspec.msgpack.Encoder().encode
_decode: msgspec.msgpack.Decoder[ServiceFact] = msgspec.msgpack.Decoder(ServiceFact)
_IMPORT = b"\x00"


def label(text: str) -> bytes:
    """Return the wire label of a Kubernetes name, in lower case."""
    raw = text.lower().encode()[:63]
    return bytes((len(raw),)) + raw


def service_key(namespace: str, name: str) -> bytes:
    """Return the key of a Service."""
    return label(name) + label(namespace)


class Services:
    """Services (or imports) by key."""

    def __init__(self) -> None:
        self.facts: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> ServiceFact | None:
        """Return the fact of a Service, None if there is none (nor slices of its name)."""
        raw = self.facts.get(key)
        return None if raw is None else _decode.decode(raw)

    def swap(self, key: bytes, fact: ServiceFact | None) -> tuple[bool, ServiceFact | None]:
        """Keep the new fact (None: forget it); return whether that changes anything, and the former.

        A repeated list changes nothing, so nothing is taken apart for it.
        """
        raw = self.facts.get(key)
        new = None if fact is None else _encode(fact)
        if raw == new:
            return False, fact
        if new is None:
            del self.facts[key]
        else:
            self.facts[key] = new
        return True, None if raw is None else _decode.decode(raw)


class Pods:
    """Pods by what is asked about them; `known` says that all have been told."""

    def __init__(self) -> None:
        self.known = False
        self._facts: dict[tuple[str, str], PodFact] = {}
        self._texts: dict[tuple[str, str], int] = {}
        self._owner: dict[bytes, PodFact] = {}

    def put(self, fact: PodFact) -> None:
        """Add or change a Pod."""
        self.drop((fact.namespace, fact.name))
        self._facts[fact.namespace, fact.name] = fact
        text = (fact.namespace, fact.ip)
        self._texts[text] = self._texts.get(text, 0) + 1
        for address in fact.addresses:
            self._owner[address] = fact

    def drop(self, key: tuple[str, str]) -> None:
        """Forget a Pod, if it is known."""
        fact = self._facts.pop(key, None)
        if fact is None:
            return
        text = (fact.namespace, fact.ip)
        self._texts[text] -= 1
        if not self._texts[text]:
            del self._texts[text]
        for address in fact.addresses:
            if self._owner.get(address) is fact:
                del self._owner[address]

    def has(self, namespace: str, ip: str) -> bool:
        """Return whether a Pod of the namespace has exactly this text as its address (POD-04)."""
        return (namespace, ip) in self._texts

    def at(self, address: bytes) -> PodFact | None:
        """Return the Pod that has this packed address as its own (SRC-20)."""
        return self._owner.get(address)

    def names(self) -> set[tuple[str, str]]:
        """Return who is known."""
        return set(self._facts)


class Catalog:
    """The cluster as the resolver knows it."""

    def __init__(self) -> None:
        self.services = Services()
        self.imports = Services()
        self.namespaces: set[bytes] = set()
        self.pods = Pods()
        self.virtual = Owners()
        self.endpoints = Owners()
        self.serial = 0
        self.imports_serial = 0
        self.imports_known = False
        self.synced = False
        self.stale = False
        self._unseen: dict[str, set[Hashable]] | None = None

    def apply(self, change: Change) -> set[Hashable]:
        """Take a change over; return the tags of what is different now."""
        tags: set[Hashable] = set()
        if change.begin:
            self._unseen = {
                "services": set(self.services.facts),
                "imports": set(self.imports.facts),
                "namespaces": set(self.namespaces),
                "pods": set(self.pods.names()),
            }
        self.serial = change.serial or self.serial
        self.imports_serial = change.imports_serial or self.imports_serial
        self.imports_known |= change.imports_known
        self.pods.known |= change.pods_known
        for fact in change.services:
            self._service(service_key(fact.namespace, fact.name), fact, tags)
        for namespace, name in change.services_gone:
            self._service(service_key(namespace, name), None, tags)
        for fact in change.imports:
            self._import(service_key(fact.namespace, fact.name), fact, tags)
        for namespace, name in change.imports_gone:
            self._import(service_key(namespace, name), None, tags)
        self._names(change, tags)
        for pod in change.pods:
            self._see("pods", (pod.namespace, pod.name))
            self.pods.put(pod)
        for key in change.pods_gone:
            self.pods.drop(key)
        return tags

    def finish(self, synced: Synced) -> set[Hashable]:
        """Close a complete list: what it did not name is gone. Returns the tags of that."""
        tags: set[Hashable] = set()
        unseen, self._unseen = self._unseen or {}, None
        for key in unseen.get("services", ()):
            self._service(key, None, tags)  # type: ignore[arg-type]
        for key in unseen.get("imports", ()):
            self._import(key, None, tags)  # type: ignore[arg-type]
        gone = unseen.get("namespaces", set())
        self.namespaces -= gone
        tags |= gone
        for key in unseen.get("pods", ()):
            self.pods.drop(key)  # type: ignore[arg-type]
        self.synced, self.stale = True, synced.stale
        self.imports_known, self.pods.known = synced.imports_known, synced.pods_known
        return tags

    def _see(self, kind: str, key: Hashable) -> None:
        if self._unseen is not None:
            self._unseen[kind].discard(key)

    def _service(self, key: bytes, fact: ServiceFact | None, tags: set[Hashable]) -> None:
        self._see("services", key)
        changed, former = self.services.swap(key, fact)
        if not changed:
            return
        tags.add(key)
        tags |= _move(self.virtual, key, former.addresses if former else (), fact.addresses if fact else ())
        tags |= _move_endpoints(self.endpoints, key, former.slices if former else (), fact.slices if fact else ())

    def _import(self, key: bytes, fact: ServiceFact | None, tags: set[Hashable]) -> None:
        self._see("imports", key)
        if self.imports.swap(key, fact)[0]:
            tags.add(_IMPORT + key)

    def _names(self, change: Change, tags: set[Hashable]) -> None:
        for name in change.namespaces:
            key = label(name)
            self._see("namespaces", key)
            if key not in self.namespaces:
                self.namespaces.add(key)
                tags.add(key)
        for name in change.namespaces_gone:
            key = label(name)
            if key in self.namespaces:
                self.namespaces.discard(key)
                tags.add(key)


def _move_endpoints(index: Owners, key: bytes, before: tuple[SliceFact, ...], after: tuple[SliceFact, ...]) -> set[int]:
    """Do the same for endpoints, looking at slices that differ only: a Service of thousands of endpoints changes in one slice at a time."""
    first = _same(before, after)
    last = min(_same(before[::-1], after[::-1]), len(before) - first, len(after) - first)
    stay = _addresses((*before[:first], *before[len(before) - last :]))
    gone, come = _addresses(before[first : len(before) - last]), _addresses(after[first : len(after) - last])
    _move(index, key, gone - stay, come - stay)
    return {number(address) for address in gone | come}


def _same(one: tuple[SliceFact, ...], other: tuple[SliceFact, ...]) -> int:
    """Return how many slices are the same at the beginning."""
    return next((place for place, (mine, its) in enumerate(zip(one, other, strict=False)) if mine != its), min(len(one), len(other)))


def _addresses(slices: Iterable[SliceFact]) -> set[bytes]:
    return {endpoint.address for each in slices for endpoint in each.endpoints}


def _move(index: Owners, key: bytes, before: Iterable[bytes], after: Iterable[bytes]) -> set[int]:
    """Let the index follow a Service from these addresses to those; return all their numbers: the names of those that stay may change."""
    old, new = {number(address) for address in before}, {number(address) for address in after}
    for address in old - new:
        index.drop(address, key)
    for address in new - old:
        index.add(address, key)
    return old | new
