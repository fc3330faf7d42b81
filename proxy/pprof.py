"""Profiles in the format of Go's pprof, so that the same tools draw them. Pure: samples in, bytes out.

A profile is a gzipped protocol buffer (profile.proto of github.com/google/pprof): a table of strings, and functions, locations and samples
that point into it by number. Only what a sampled profile of stacks needs is written. `profiling` takes the samples.
"""

import gzip
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

_VARINT: Final = 0
_BYTES: Final = 2


class Frame(Struct, frozen=True, gc=False, order=True):
    """A place in the code."""

    function: str
    file: str
    line: int


Stack = tuple[Frame, ...]
"""Frames, the innermost first."""


def folded(samples: Mapping[Stack, int]) -> str:
    """Return samples as lines of text: frames from the outermost, separated by semicolons, and the value; the largest first."""
    ranked = sorted(samples.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{';'.join(f'{one.function} ({one.file}:{one.line})' for one in reversed(stack))} {value}\n" for stack, value in ranked)


def profile(samples: Mapping[Stack, tuple[int, int]], began_ns: int, seconds: float, period_ns: int) -> bytes:
    """Return a CPU profile: each stack with how often it was seen and its nanoseconds; `began_ns` is nanoseconds since the epoch."""
    book = _Book()
    parts = [_field(1, _type(book, "samples", "count")), _field(1, _type(book, "cpu", "nanoseconds"))]
    for stack, (count, nanoseconds) in sorted(samples.items()):
        places = _packed(book.location(frame) for frame in stack)
        parts.append(_field(2, _field(1, places) + _field(2, _packed((count, nanoseconds)))))
    period = _type(book, "cpu", "nanoseconds")
    parts += [_field(4, one) for one in book.locations.values()]
    parts += [_field(5, one) for one in book.functions.values()]
    parts += [_field(6, text.encode()) for text in book.strings]
    parts += [_number(9, began_ns), _number(10, round(seconds * 1e9)), _field(11, period), _number(12, period_ns)]
    return gzip.compress(b"".join(parts), mtime=0)


class _Book:
    """The tables that samples point into; numbers begin with 1, but for strings, of which the first is empty."""

    def __init__(self) -> None:
        self.strings: dict[str, int] = {"": 0}
        self.functions: dict[tuple[str, str], bytes] = {}
        self.locations: dict[Frame, bytes] = {}
        self._numbers: dict[object, int] = {}

    def text(self, value: str) -> int:
        return self.strings.setdefault(value, len(self.strings))

    def location(self, frame: Frame) -> int:
        if frame not in self.locations:
            number = self._numbers[frame] = len(self.locations) + 1
            line = _number(1, self._function(frame)) + _number(2, frame.line)
            self.locations[frame] = _number(1, number) + _field(4, line)
        return self._numbers[frame]

    def _function(self, frame: Frame) -> int:
        key = (frame.function, frame.file)
        if key not in self.functions:
            number = self._numbers[key] = len(self.functions) + 1
            name = self.text(frame.function)
            self.functions[key] = _number(1, number) + _number(2, name) + _number(3, name) + _number(4, self.text(frame.file))
        return self._numbers[key]


def _type(book: _Book, what: str, unit: str) -> bytes:
    return _number(1, book.text(what)) + _number(2, book.text(unit))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _packed(values: Iterable[int]) -> bytes:
    return b"".join(map(_varint, values))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content
