"""The content of a manifest file → documents → what each object became, with the line it stands on.

A file is cut into documents by text alone (a line that begins with `---` ends a YAML document wherever it stands), so that a syntax error
costs one document and not those after it, and a document that did not change need not be read again; for the same reason a JSON list is
cut into its items. `read` is total: whatever the bytes
are, it returns objects and errors. JSON is decoded from its bytes, also inside a .yaml file; the rest goes through `yamltree`. Valid input
pays nothing for line numbers: they are sought only for errors, in the YAML nodes, or by walking the JSON text along the field's path.
`folder` reads files with it, the offline commands read their input with it.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct
from pointsman.kube.decode import DecodeError, Entry, Unread, cut, decode, decode_item
from pointsman.kube.objects import Kind, KubeObject
from pointsman.kube.yamltree import Path, YamlError, compose, construct, line_of

_SEPARATOR: Final = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_EMPTY: Final = re.compile(rb"(?:\s|#[^\n]*(?:\n|\Z)|^%[^\n]*(?:\n|\Z)|^\.\.\.\s)*", re.MULTILINE)
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_BOM: Final = b"\xef\xbb\xbf"


class Document(Struct, frozen=True):
    """A piece of a file: the line on which it begins (from 1), its bytes, whether it must be JSON.

    `item` is its place in a list, if it was cut from one, and `listed` what that list says its items are.
    """

    line: int
    content: bytes
    strict_json: bool = False
    item: int | None = None
    listed: Kind | None = None


class Placed(Struct, frozen=True):
    """What became of one object: the line within its document (from 1; of the fault, or of the document's first line), and the outcome."""

    line: int
    outcome: KubeObject | DecodeError | Unread


def split_yaml(content: bytes) -> Iterator[Document]:
    """Cut a YAML stream into its documents; those of nothing but blanks, comments and directives are left out."""
    content = content.removeprefix(_BOM)
    start, line = 0, 1
    for end in [match.start() for match in _SEPARATOR.finditer(content)] + [len(content)]:
        piece = content[start:end]
        body = piece[3:] if piece.startswith(b"---") else piece
        if not _EMPTY.fullmatch(body):
            # blanks in place of the dashes keep columns and lines as they are
            document = Document(line, b"   " + body if len(body) < len(piece) and not body.startswith((b"\n", b"\r")) else body)
            yield from _cut(document) if body.lstrip().startswith(b"{") else (document,)
        line += piece.count(b"\n")
        start = end


def split_json(content: bytes) -> Iterator[Document]:
    """Cut a file of JSON values, usually one, into documents; what cannot be cut is the last document."""
    content = content.removeprefix(_BOM)
    if not content.strip():
        return
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from _json_stream(content)
    else:
        yield from _cut(Document(1, content, strict_json=True))


def read(document: Document) -> tuple[Placed, ...]:
    """Return what became of each object of a document; a document that cannot be read is one error."""
    if document.item is not None:
        return _placed_json(document.content, (Entry(None, decode_item(document.content, document.item, document.listed).outcome),))
    if document.strict_json:
        return _read_json(document.content)
    if document.content.lstrip().startswith(b"{"):
        try:
            return _placed_json(document.content, decode(document.content))
        except DecodeError:
            pass  # flow-style YAML, or broken: YAML's parser says it better
    return _read_yaml(document.content)


def path_of(field: str) -> tuple[str | int, ...]:
    """Return the path that a field in API notation names: `spec.ports[0].port` → spec, ports, 0, port."""
    steps = ((name, index or "0") for name, index in _STEP.findall(field))
    return tuple(name or (int(index) if _INDEX.fullmatch(index) else index) for name, index in steps)


def _cut(document: Document) -> Iterator[Document]:
    """Yield the items of a JSON list, or the document itself if it is none."""
    content = document.content
    try:
        kind, items = cut(content) or (None, None)
    except DecodeError:
        items = None
    if items is None:
        yield document
        return
    position = max(content.find(b'"items"'), 0)
    line = document.line + content.count(b"\n", 0, position)
    for index, item in enumerate(items):
        if isinstance(item, bytes):
            start = content.find(item, position)
            line += content.count(b"\n", position, start)
            yield Document(line, item, strict_json=True, item=index, listed=kind)
            line += item.count(b"\n")
            position = start + len(item)


def _json_stream(content: bytes) -> Iterator[Document]:
    """Yield one document after the other until one cannot be delimited; that one is yielded with all that follows."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield Document(1, content, strict_json=True)
        return
    scanner, position = json.JSONDecoder(), _skip(text, 0)
    while position < len(text):
        try:
            end = scanner.raw_decode(text, position)[1]
        except (ValueError, RecursionError):
            end = len(text)
        yield from _cut(Document(text.count("\n", 0, position) + 1, text[position:end].encode(), strict_json=True))
        position = _skip(text, end)


def _read_json(content: bytes) -> tuple[Placed, ...]:
    try:
        return _placed_json(content, decode(content))
    except DecodeError as error:
        line, reason = _json_fault(content)
        if reason:
            return (Placed(line, DecodeError("", "", reason)),)
        return (Placed(_json_line(content, path_of(error.field)), error),)


def _json_fault(content: bytes) -> tuple[int, str]:
    """Return line and reason of a syntax error, an empty reason if there is none."""
    try:
        json.loads(content.decode())
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1, "not UTF-8"
    except json.JSONDecodeError as error:
        return error.lineno, f"not JSON: {error.msg}"
    except (ValueError, RecursionError) as error:
        return 1, f"not JSON: {error}"
    return 1, ""


def _placed_json(content: bytes, entries: tuple[Entry, ...]) -> tuple[Placed, ...]:
    return tuple([
        Placed(_json_line(content, _within(entry)) if isinstance(entry.outcome, DecodeError) else 1, entry.outcome) for entry in entries
    ])


def _read_yaml(content: bytes) -> tuple[Placed, ...]:
    try:
        tree = compose(content.decode())
        if tree is None:
            return ()
        value = construct(tree)
    except UnicodeDecodeError as error:
        return (Placed(content.count(b"\n", 0, error.start) + 1, DecodeError("", "", "not UTF-8")),)
    except YamlError as error:
        return (Placed(error.line, DecodeError("", "", f"not YAML: {error.reason}")),)
    if not isinstance(value, dict):
        return (Placed(line_of(tree, ()), DecodeError("", "", f"expected a mapping, got {type(value).__name__}")),)
    try:
        entries = decode(value)
    except DecodeError as error:
        return (Placed(line_of(tree, path_of(error.field)), error),)
    return tuple([Placed(line_of(tree, _within(entry)), entry.outcome) for entry in entries])


def _within(entry: Entry) -> Path:
    """Return the path of an object in its document, for a broken one that of the fault."""
    path = path_of(entry.outcome.field) if isinstance(entry.outcome, DecodeError) else ()
    return path if entry.item is None else ("items", entry.item, *path)


def _skip(text: str, position: int) -> int:
    """Return the position of the next character that is not blank."""
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _json_line(content: bytes, path: Path) -> int:
    """Return the line of the value at a path in valid JSON, or of the innermost part of the path that exists; 1 if it is not found."""
    try:
        text = content.decode()
        position = _skip(text, 0)
        for step in path:
            # as decoding does, the last of several equal keys wins
            following = [inner for key, inner in _members(text, position) if key == step]
            if not following:
                break
            position = following[-1]
        return text.count("\n", 0, position) + 1
    except (ValueError, IndexError, RecursionError):
        return 1


def _members(text: str, position: int) -> Iterator[tuple[str | int, int]]:
    """Yield key and position of each member of the object or array that begins at a position; nothing for other values."""
    opening = text[position]
    if opening not in "{[":
        return
    scanner = json.JSONDecoder()
    position = _skip(text, position + 1)
    count = 0
    while text[position] not in "}]":
        key: str | int = count
        if opening == "{":
            key, position = scanner.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        yield key, position
        position = _skip(text, scanner.raw_decode(text, position)[1])
        if text[position] == ",":
            position = _skip(text, position + 1)
        count += 1
