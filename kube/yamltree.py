"""One YAML document → plain values, and back from a field's path to its line.

PyYAML's parser (libyaml where it is built in) composes the nodes; the values are made here, because PyYAML's own constructor turns dates
into objects, `1:30` into 90, and takes a key given twice in silence. The rules are those of YAML 1.1 as Kubernetes' tools read it: `yes`,
`no`, `on` and `off` are booleans, dates stay text, anchors and merge keys work, a key given twice is an error, keys are text. Nodes know
where they stand, so a line number costs nothing until it is asked for. Nesting and the count of values are bounded: neither depth nor
aliases of aliases can exhaust the process. `documents` calls it for what is not JSON.
"""

import re
from collections.abc import Sequence
from typing import Final

from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

try:
    from yaml.cyaml import CBaseLoader as BaseLoader
except ImportError:  # PyYAML built without libyaml
    from yaml.loader import BaseLoader  # type: ignore[assignment]

Path = Sequence[str | int]
"""The way to a value inside a document: keys and positions."""

MAX_DEPTH: Final = 100
MAX_VALUES: Final = 5_000_000  # after following aliases; 10,000 EndpointSlices of 10 endpoints are about 2,000,000

_PLAIN, _TEXT = "plain", "tag:yaml.org,2002:str"
_PREFIX = "tag:yaml.org,2002:"
_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((form for word in ("true", "yes", "on") for form in (word, word.title(), word.upper())), True),
    **dict.fromkeys((form for word in ("false", "no", "off") for form in (word, word.title(), word.upper())), False),
}
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,30}|0o?[0-7][0-7_]{0,30}|0x[0-9a-fA-F][0-9a-fA-F_]{0,30}|0b[01][01_]{0,63})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class YamlError(Exception):
    """The text is no YAML that can be used: line (counted from 1 in this text) and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason


class _Bounds:
    """What the composer asks while it builds nodes: how a scalar was written; and, on the way, how deep it is."""

    _depth = 0

    def resolve(self, kind: type[Node], _value: str | None, implicit: tuple[bool, bool] | bool | None) -> str:
        """Return whether a scalar is plain, hence to be read as a number or a word, or text."""
        return _PLAIN if kind is ScalarNode and isinstance(implicit, tuple) and implicit[0] else _TEXT

    def descend_resolver(self, parent: Node | None, _index: object) -> None:
        """Count one level down."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise YamlError(_line(parent) if parent else 1, f"nested deeper than {MAX_DEPTH} levels")

    def ascend_resolver(self) -> None:
        """Count one level up."""
        self._depth -= 1


class _Loader(_Bounds, BaseLoader):
    """PyYAML's parser and composer with our resolver."""


def compose(text: str) -> Node | None:
    """Return the nodes of one document, None if it holds nothing but comments. Raises YamlError."""
    try:
        node: Node | None = _Loader(text).get_single_node()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        last = text.count("\n") + (0 if text.endswith("\n") else 1)  # the parser may stop beyond the end
        raise YamlError(min(mark.line + 1, last) if mark else 1, reason) from error
    except ReaderError as error:
        raise YamlError(text.count("\n", 0, error.position) + 1, f"character {_code(error.character)}: {error.reason}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise YamlError(1, " ".join(str(error).split())) from error
    return None if isinstance(node, ScalarNode) and node.tag == _PLAIN and node.value == "" else node


def construct(node: Node) -> object:
    """Return a node's value: dicts with text keys, lists, text, numbers, booleans, None. Raises YamlError."""
    return _Construction().value(node)


def line_of(node: Node, path: Path) -> int:
    """Return the line (from 1) of the value at a path, or of the innermost part of the path that exists."""
    line = _line(node)
    for step in path:
        following: Node | None = None
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if isinstance(key, ScalarNode) and key.value == step:
                    line, following = _line(key), value
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            following = node.value[step]
            line = _line(node.value[step])
        if following is None:
            return line
        node = following
    return line


def scalar(text: str) -> object:
    """Return what a plain (unquoted) scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return _integer(text.replace("_", ""))
    return float(text) if _FLOAT.fullmatch(text) else text


def _integer(digits: str) -> int:
    """Read a whole number; a leading zero means octal, as in YAML 1.1."""
    bare = digits.lstrip("+-")
    if len(bare) > 1 and bare[0] == "0" and bare[1].isdigit():
        digits = digits.replace("0", "0o", 1)
    return int(digits, 0)


def _code(character: object) -> str:
    """Return a character as people look it up."""
    return f"U+{character:04X}" if isinstance(character, int) else repr(character)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Construction:
    """Values being made from nodes; a node reached again by an alias gives the value made before."""

    def __init__(self) -> None:
        self._made: dict[int, object] = {}
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Node) -> object:
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        identity = id(node)
        if identity in self._made:
            return self._made[identity]
        if identity in self._open:
            raise YamlError(_line(node), "an anchor contains itself")
        self._open.add(identity)
        made: object = self._mapping(node) if isinstance(node, MappingNode) else [self.value(inner) for inner in node.value]
        self._count_values(node)
        self._open.discard(identity)
        self._made[identity] = made
        return made

    def _mapping(self, node: MappingNode) -> dict[str, object]:
        made: dict[str, object] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise YamlError(_line(key), "a key must be text")
            if key.tag == _PLAIN and key.value == "<<":
                merged.append(value)
            elif key.value in made:
                raise YamlError(_line(key), f"key {key.value!r} is given twice")
            else:
                made[key.value] = self.value(value)
        for source in merged:
            for inner in source.value if isinstance(source, SequenceNode) else [source]:
                content = self.value(inner)
                if not isinstance(content, dict):
                    raise YamlError(_line(inner), "only a mapping can be merged")
                self._count_values(inner)
                made = {**content, **made}
        return made

    def _scalar(self, node: ScalarNode) -> object:
        if node.tag == _PLAIN:
            return scalar(node.value)
        if node.tag == _TEXT:
            return node.value
        if node.tag in {f"{_PREFIX}{name}" for name in ("int", "float", "bool", "null")}:
            return scalar(node.value)
        raise YamlError(_line(node), f"tag {node.tag.replace(_PREFIX, '!!')} is not supported")

    def _count_values(self, node: Node) -> None:
        self._count += len(node.value)
        if self._count > MAX_VALUES:
            raise YamlError(_line(node), f"more than {MAX_VALUES} values in one document")
