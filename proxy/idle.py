"""Values that mean nothing here, judged all the same: what kube-proxy refuses to start with is refused (CFG-21, CFG-41).

A file or command line must mean one thing in both programs, also where it is broken: somebody who writes `flushFrequency: soon` learns it
from either. Texts are those of flags, values those of a file. Buffers and split streams are taken whatever their gate says: nothing is
buffered here. `flag_table` and `config_file` read by these.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from pointsman.proxy.values import duration, listed

Reader = Callable[[object], object]

_QUANTITY = re.compile(r"[+-]?[0-9.]*[0-9][0-9.]*([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
_LARGEST_LEVEL = 2**31 - 1


def flush_period(text: str) -> float:
    """Read how often a log is flushed; raises ValueError."""
    seconds = duration(text)
    if seconds <= 0:
        raise ValueError("must be longer than zero")
    return seconds


def quantity(text: str) -> str:
    """Read a number of bytes as Kubernetes writes it (`4Ki`); raises ValueError."""
    if not _QUANTITY.fullmatch(text) or text.count(".") > 1:
        raise ValueError(f"{text!r} is no quantity; write it as 0, 4096 or 4Ki")
    return text


def vmodule(text: str) -> tuple[str, ...]:
    """Read log levels per source file (`pattern=N,...`); raises ValueError."""
    for entry in listed(text):
        pattern, equals, level = entry.partition("=")
        if not (pattern and equals and level.isascii() and level.isdigit() and int(level) <= _LARGEST_LEVEL):
            raise ValueError(f"{entry!r} is no level of a file; write it as pattern=N")
    return listed(text)


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text; put it in quotes if it is meant so")
    return value


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _flush(value: object) -> object:
    """Read a period; whole numbers are nanoseconds here, and 0 means the default."""
    if isinstance(value, int) and not isinstance(value, bool):
        return flush_period(f"{value}ns") if value else value
    return flush_period(str(_text(value)))


def _bytes(value: object) -> object:
    return quantity(str(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(_text(value)))


def _pattern(value: object) -> object:
    if not _text(value):
        raise ValueError("must not be empty")
    return value


def _level(value: object) -> object:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_LEVEL:
        raise ValueError(f"{value!r} is no level; it is a whole number from 0")
    return value


_STREAMS: Mapping[str, object] = {"infoBufferSize": _bytes, "splitStream": _boolean}

SHAPES: Mapping[str, object] = {
    "clientConnection.acceptContentTypes": _text,
    "logging.flushFrequency": _flush,
    "logging.options": {"json": _STREAMS, "text": _STREAMS},
    "logging.vmodule": [{"filePattern": _pattern, "verbosity": _level}],
    "portRange": _text,
    "windowsRunAsService": _boolean,
    "winkernel": {
        "enableDSR": _boolean, "forwardHealthCheckVip": _boolean, "networkName": _text, "rootHnsEndpointName": _text, "sourceVip": _text,
    },
}
"""What may stand at a path of kube-proxy's document: a reader, a mapping of shapes, or a list of one shape."""


def wrong(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield a path and a sentence for everything that is wrong with a value of the file that means nothing here."""
    if path in SHAPES:
        yield from _wrong(path, SHAPES[path], value)


def _wrong(path: str, shape: object, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            yield path, "must be a mapping"
            return
        for name, inner in shape.items():
            yield from _wrong(f"{path}.{name}", inner, value.get(name))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield path, "must be a list"
            return
        for position, entry in enumerate(value):
            yield from _wrong(f"{path}[{position}]", shape[0], entry)
    elif callable(shape):
        try:
            shape(value)
        except (ValueError, TypeError) as error:
            yield path, str(error)
