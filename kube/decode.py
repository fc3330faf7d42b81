"""Bytes or parsed mappings → typed objects; the only door through which API objects come in.

`decode` takes one document (an object, or a `List` kind of many) and returns an entry per object: the object, or why it is broken, or
that its kind is not read here. One broken object never costs the others: a list is first cut into its items. `decode_as` is for callers
that know the kind (a list or watch response). Whatever the input is, decoding returns or raises DecodeError, nothing else.

JSON goes straight from bytes into the structs. null means absent everywhere, as in the API; only structs that refuse a null take the slower
second look. Names and namespaces are checked by the API's rules, because they end up in chain names, comments and DNS records. What is
right in form but cannot be routed (an address, a port out of range) is `routing`'s to judge.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct
from pointsman.kube.objects import STRUCTS, Kind, KubeObject, ObjectRef
from pointsman.kube.share import shared

CLUSTER_SCOPED: Final = frozenset({Kind.NODE, Kind.NAMESPACE, Kind.SERVICE_CIDR})
"""Kinds whose objects belong to no namespace."""

_VERSIONS: Final = {
    Kind.SERVICE: ("v1",),
    Kind.NODE: ("v1",),
    Kind.NAMESPACE: ("v1",),
    Kind.POD: ("v1",),
    Kind.ENDPOINT_SLICE: ("discovery.k8s.io/v1",),
    Kind.SERVICE_CIDR: ("networking.k8s.io/v1", "networking.k8s.io/v1beta1"),
    Kind.SERVICE_IMPORT: ("multicluster.x-k8s.io/v1alpha1", "multicluster.x-k8s.io/v1beta1"),
}
_KINDS: Final = {(version, kind.value): kind for kind, versions in _VERSIONS.items() for version in versions}
_LISTS: Final = {(version, f"{name}List"): kind for (version, name), kind in _KINDS.items()}
_GROUPS: Final = {(version.rpartition("/")[0], kind.value): version for kind, (version, *_) in _VERSIONS.items()}

_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_AT: Final = re.compile(r"(?P<text>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_BARE_SCALAR: Final = re.compile(r"expected str.*, got (int|float|bool)")

Document = bytes | Mapping[str, object]
"""JSON text, or what a YAML document was parsed to."""


class DecodeError(Exception):
    """One object cannot be used: which (`Service shop/web`, empty if unknown), which field in API notation (empty if none), and why.

    `ref` is the object's identity where it could still be read.
    """

    def __init__(self, subject: str, field: str, reason: str, ref: ObjectRef | None = None) -> None:
        super().__init__(subject, field, reason)
        self.subject = subject
        self.field = field
        self.reason = reason
        self.ref = ref

    def __str__(self) -> str:
        """Return `Service shop/web: spec.ports[0].port: expected int, got str`."""
        return ": ".join(part for part in (self.subject, self.field, self.reason) if part)


class Unread(Struct, frozen=True):
    """An object of a kind that this program does not read, such as a Deployment; no error."""

    api_version: str
    kind: str


class Entry(Struct, frozen=True):
    """What became of one object; `item` is its place in the list it came in, None if it stood alone."""

    item: int | None
    outcome: KubeObject | DecodeError | Unread


class _Header(Struct, rename="camel"):
    """What says how to decode the rest."""

    api_version: str | None = None
    kind: str | None = None
    items: Raw = Raw(b"null")


_HEADER: Final = msgspec.json.Decoder(_Header)
_ITEMS: Final = msgspec.json.Decoder(tuple[Raw, ...] | None)
_DECODERS: Final = {kind: msgspec.json.Decoder(struct) for kind, struct in STRUCTS.items()}


def decode(document: Document) -> tuple[Entry, ...]:
    """Return an entry for each object of a document.

    Raises DecodeError if the document is no JSON, not an object, or does not say what it is.
    """
    items = cut(document)
    if items is None:
        return (decode_item(document, None, None),)
    kind, found = items
    return tuple(decode_item(item, index, kind) for index, item in enumerate(found))


def cut(document: Document) -> tuple[Kind | None, Iterator[Document]] | None:
    """Return the items of a list and the kind that the list says they are (None: each says it), or None if the document is no list.

    Raises DecodeError as `decode` does.
    """
    version, name = _kind_of(document)
    kind = _LISTS.get((version, name))
    return None if kind is None and (version, name) != ("v1", "List") else (kind, _items_of(document))


def decode_item(document: Document, item: int | None, kind: Kind | None) -> Entry:
    """Return the entry of one object; `kind` is what the list around it says, as items of a typed list need not repeat it."""
    try:
        return Entry(item, decode_as(kind, document) if kind is not None else _decode_alone(document, item))
    except DecodeError as error:
        return Entry(item, error)


def decode_as(kind: Kind, document: Document) -> KubeObject:
    """Return the object of a known kind that a document holds. Raises DecodeError."""
    try:
        value = _convert(kind, document)
    except msgspec.ValidationError as error:
        value = _convert_without_nulls(kind, document, error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("", "", f"not JSON: {error}") from error
    meta = value.metadata
    namespace = "" if kind in CLUSTER_SCOPED else meta.namespace or "default"
    _check_identity(kind, namespace, meta.name)
    if namespace != meta.namespace:
        value = msgspec.structs.replace(value, metadata=msgspec.structs.replace(meta, namespace=namespace))
    return shared(value)


def _decode_alone(document: Document, item: int | None) -> KubeObject | Unread:
    """Decode an object that says itself what it is."""
    version, name = _kind_of(document)
    found = _KINDS.get((version, name))
    if found is not None:
        return decode_as(found, document)
    if item is not None and ((version, name) == ("v1", "List") or (version, name) in _LISTS):
        raise DecodeError("", "kind", f"a {name} cannot stand inside another list")
    supported = _GROUPS.get((version.rpartition("/")[0], name))
    if supported is None:
        return Unread(version, name)
    plain = _plain(document)
    raise DecodeError(_subject(Kind(name), plain), "apiVersion", f"{version} is not read here; write {supported}", _ref(Kind(name), plain))


def _kind_of(document: Document) -> tuple[str, str]:
    """Return apiVersion and kind."""
    try:
        header = _HEADER.decode(document) if isinstance(document, bytes) else msgspec.convert(_heading(document), _Header)
    except msgspec.ValidationError as error:
        raise DecodeError("", *_explain(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("", "", f"not JSON: {error}") from error
    for field, value in (("apiVersion", header.api_version), ("kind", header.kind)):
        if not value:
            raise DecodeError("", field, "missing: this is not a Kubernetes object")
    return header.api_version or "", header.kind or ""


def _heading(document: Mapping[str, object]) -> dict[str, object]:
    return {field: document[field] for field in ("apiVersion", "kind") if field in document}


def _items_of(document: Document) -> Iterator[Document]:
    """Return the items of a list, one after the other; a null list is empty."""
    try:
        if isinstance(document, bytes):
            return (bytes(raw) for raw in _ITEMS.decode(_HEADER.decode(document).items) or ())
        items = msgspec.convert(document.get("items"), tuple[object, ...] | None) or ()
        return (item if isinstance(item, dict) else b"null" for item in items)
    except msgspec.ValidationError as error:
        raise DecodeError("", "items", _explain(error)[1]) from error


def _convert(kind: Kind, document: Document) -> KubeObject:
    if isinstance(document, bytes):
        return _DECODERS[kind].decode(document)
    return msgspec.convert(document, STRUCTS[kind])


def _convert_without_nulls(kind: Kind, document: Document, first: msgspec.ValidationError) -> KubeObject:
    """Convert once more with all nulls left out; what fails now is wrong indeed."""
    try:
        plain = _plain(document)
    except DecodeError as error:
        raise DecodeError(kind.value, *_explain(first)) from error
    try:
        return msgspec.convert(plain, STRUCTS[kind])
    except msgspec.ValidationError as error:
        ref = _ref(kind, plain)
        raise DecodeError(_subject(kind, plain), *_explain(error), ref) from error


def _plain(document: Document) -> object:
    try:
        return _without_nulls(msgspec.json.decode(document) if isinstance(document, bytes) else document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("", "", f"not JSON: {error}") from error


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _check_identity(kind: Kind, namespace: str, name: str) -> None:
    """Raise DecodeError unless name and namespace are what the API admits (RFC 1123 labels and subdomains)."""
    subject = str(ObjectRef(kind, namespace, name))
    if namespace and not _LABEL.fullmatch(namespace):
        raise DecodeError(subject, "metadata.namespace", f"{namespace!r} is not a DNS label (a-z, 0-9, '-', at most 63 characters)")
    if kind in {Kind.SERVICE, Kind.NAMESPACE, Kind.SERVICE_IMPORT}:
        if not _LABEL.fullmatch(name):
            raise DecodeError(subject, "metadata.name", f"{name!r} is not a DNS label (a-z, 0-9, '-', at most 63 characters)")
    elif not _SUBDOMAIN.fullmatch(name):
        raise DecodeError(subject, "metadata.name", f"{name!r} is not a DNS name (a-z, 0-9, '-', '.', at most 253 characters)")


def _ref(kind: Kind, plain: object) -> ObjectRef | None:
    """Return the identity of a broken object if it can be read."""
    meta = plain.get("metadata") if isinstance(plain, dict) else None
    if not isinstance(meta, dict):
        return None
    name, namespace = meta.get("name"), meta.get("namespace", "")
    if not isinstance(name, str) or not isinstance(namespace, str):
        return None
    return ObjectRef(kind, "" if kind in CLUSTER_SCOPED else namespace or "default", name)


def _subject(kind: Kind, plain: object) -> str:
    """Return what can be said of a broken object's identity, at least its kind."""
    ref = _ref(kind, plain)
    return str(ref) if ref is not None else kind.value


def _explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return field (API notation) and reason of what msgspec refused."""
    found = _AT.fullmatch(str(error))
    text, field = (found["text"], found["field"] or "") if found else (str(error), "")
    missing = _MISSING.fullmatch(text)
    if missing:
        return ".".join(part for part in (field, missing["name"]) if part), "missing"
    for bag in ("metadata.labels.", "metadata.annotations."):
        if field.startswith(bag):
            field = f"{bag[:-1]}[{field[len(bag):]}]"
    reason = text.replace("`", "").replace(" | null", "").replace("null", "nothing")
    reason = reason[:1].lower() + reason[1:]
    return field, f"{reason} (write it in quotes)" if _BARE_SCALAR.fullmatch(reason) else reason
