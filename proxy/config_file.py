"""A configuration file → values by field of `Config`, each with its line; problems; remarks. Pure: bytes in, values out.

The file holds YAML or JSON documents: a KubeProxyConfiguration, a PointsmanConfiguration, or both. kube-proxy reads its document strictly,
and if only unknown fields or fields given twice are wrong, reads it again leniently and says so (CFG-21): here these are remarks, with the
field that was probably meant. In our own document they are errors. A value of a wrong type is always an error; all errors are found at
once, and a field that cannot be read keeps its default.

The documents are walked node by node beside the table in `settings`, because plain values know no lines.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from msgspec import Struct
from pointsman.kube.documents import Document, split_yaml
from pointsman.kube.yamltree import YamlError, compose, construct
from pointsman.proxy.idle import wrong
from pointsman.proxy.settings import SCHEMAS, Schema, Setting
from yaml.nodes import MappingNode, Node, ScalarNode

MERGE = "<<"


class Given(Struct, frozen=True):
    """A value of the file: for `Config`, as it was written, its path, and its line."""

    value: object
    written: object
    path: str
    line: int


class Remark(Struct, frozen=True):
    """Something about a line of the file (0: the whole file) and a path in it (may be empty)."""

    line: int
    path: str
    text: str


class FileContent(Struct, frozen=True):
    """What a file says: values by field of `Config`, what makes it unusable, and what has no effect."""

    values: dict[str, Given]
    problems: tuple[Remark, ...]
    remarks: tuple[Remark, ...]


def read(content: bytes) -> FileContent:
    """Return what a configuration file says."""
    reading = _Reading()
    try:
        documents = list(split_yaml(content))
        for document in documents:
            reading.document(document)
    except UnicodeDecodeError:
        reading.problems.append(Remark(0, "", "not UTF-8"))
        return reading.result()
    if not documents:
        reading.problems.append(Remark(0, "", f"is empty; it must hold {_expected()}"))
    return reading.result()


def _expected() -> str:
    return " or ".join(f"{schema.kind} ({schema.api_version})" for schema in SCHEMAS)


class _Reading:
    """What has been found so far, while one document after the other is read."""

    def __init__(self) -> None:
        self.values: dict[str, Given] = {}
        self.problems: list[Remark] = []
        self.remarks: list[Remark] = []
        self._seen: set[str] = set()
        self._shift = 0

    def result(self) -> FileContent:
        return FileContent(self.values, tuple(sorted(self.problems, key=_line_of)), tuple(sorted(self.remarks, key=_line_of)))

    def document(self, document: Document) -> None:
        """Read one document."""
        text = document.content.decode()
        self._shift = document.line - 1
        try:
            tree = compose(text.replace("\t", " ") if text.lstrip().startswith("{") else text)
        except YamlError as error:
            self.problems.append(Remark(error.line + self._shift, "", f"cannot be read: {error.reason}"))
            return
        if tree is None:
            return
        if not isinstance(tree, MappingNode):
            self.problems.append(Remark(self._line(tree), "", f"is no mapping; it must be {_expected()}"))
            return
        schema = self._schema(tree)
        if schema:
            self._mapping(schema, tree, "")

    def _schema(self, tree: MappingNode) -> Schema | None:
        """Return what a document is by its apiVersion and kind."""
        said = {key.value: value.value for key, value in tree.value if isinstance(key, ScalarNode) and isinstance(value, ScalarNode)}
        version, kind = said.get("apiVersion", ""), said.get("kind", "")
        schema = next((one for one in SCHEMAS if (one.api_version, one.kind) == (version, kind)), None)
        if schema is None:
            found = f"{kind or 'a document without kind'} ({version or 'without apiVersion'})"
            self.problems.append(Remark(self._line(tree), "", f"{found} is not known here; expected {_expected()}"))
        elif kind in self._seen:
            self.problems.append(Remark(self._line(tree), "", f"a second {kind}; a file holds one of each"))
            return None
        self._seen.add(kind)
        return schema

    def _mapping(self, schema: Schema, node: MappingNode, prefix: str) -> None:
        """Read the fields of a mapping; of one that is given twice the last counts."""
        last = {key.value: position for position, (key, _) in enumerate(node.value)}
        for position, (key, value) in enumerate(node.value):
            if not isinstance(key, ScalarNode):
                self._complain(schema, key, prefix, "a field's name must be text")
            elif key.value == MERGE and isinstance(value, MappingNode):
                self._mapping(schema, value, prefix)
            elif last[key.value] != position:
                self._complain(schema, key, f"{prefix}{key.value}", "is given twice; the last one counts")
            else:
                self._field(schema, key, value, f"{prefix}{key.value}")

    def _field(self, schema: Schema, key: Node, value: Node, path: str) -> None:
        setting = next((one for one in schema.settings if one.path == path), None)
        if setting:
            self._value(setting, key, value)
        elif path in ("apiVersion", "kind"):
            return
        elif path in schema.unused:
            found = list(wrong(path, self._plain(value)))
            self.problems += [Remark(self._line(key), place, text) for place, text in found]
            if not found and not self._idle(value, schema.unused[path]):
                self.remarks.append(Remark(self._line(key), path, "has no effect here"))
        elif any(one.startswith(f"{path}.") for one in _paths(schema)):
            if isinstance(value, MappingNode):
                self._mapping(schema, value, f"{path}.")
            elif self._plain(value) is not None:
                self.problems.append(Remark(self._line(key), path, "must be a mapping"))
        else:
            close = get_close_matches(path, list(_paths(schema)), n=1, cutoff=0.7)
            self._complain(schema, key, path, f"is not known{f'; did you mean {close[0]}?' if close else ''}")

    def _value(self, setting: Setting, key: Node, node: Node) -> None:
        line = self._line(key)
        try:
            written = construct(node)
            if written is None:
                return
            value = setting.kind.read(written)
        except YamlError as error:
            self.problems.append(Remark(error.line + self._shift, setting.path, error.reason))
        except (ValueError, TypeError) as error:
            self.problems.append(Remark(line, setting.path, str(error)))
        else:
            if value != "" and not (setting.zero and not value):
                self.values[setting.field] = Given(value, written, setting.path, line)

    def _complain(self, schema: Schema, key: Node, path: str, text: str) -> None:
        (self.problems if schema.strict else self.remarks).append(Remark(self._line(key), path, text))

    def _idle(self, node: Node, usual: object) -> bool:
        """Return whether a value that is not used says nothing anyhow: it is empty, or what kube-proxy itself would write there."""
        value = self._plain(node)
        return value == usual or not any(_leaves(value))

    def _plain(self, node: Node) -> object:
        try:
            return construct(node)
        except YamlError:
            return node.value

    def _line(self, node: Node) -> int:
        return int(node.start_mark.line) + 1 + self._shift


def _paths(schema: Schema) -> Iterator[str]:
    yield from (setting.path for setting in schema.settings)
    yield from schema.unused


def _leaves(value: object) -> Iterator[object]:
    """Yield what a value holds, besides what Go calls zero."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif value not in ("0", "0s", 0, "", None, False, []):
        yield value


def _line_of(remark: Remark) -> int:
    return remark.line
