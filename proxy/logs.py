r"""Log lines: one event is one line, for people (`text`) or for machines (`json`).

Everybody logs through the standard library and hands facts over as `extra`, never inside the sentence:
`log.info("applied", extra={"family": "IPv4", "changes": 3})`. The text form appends them as `key=value`, the JSON form as members. A line
never holds a ruleset: a value is cut at `LIMIT` characters, and line breaks are written as `\n` (pain 68: log lines of many megabytes
starved a node). Verbosity follows kube-proxy's `-v`: 0 events and problems, 4 also each step, 8 also the libraries underneath.

Who reads the log may be slow, stuck or gone, and routing must not care: `Relay` hands lines to a thread that writes them. What waits is
bounded; what has no room is counted, and told when the reader is back.
"""

import json
import logging
import os
import queue
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

LIMIT = 2000
"""Longest text of one value in a log line, in characters; tracebacks are exempt."""

STEPS = 4
"""Verbosity from which each step is logged."""

LIBRARIES = 8
"""Verbosity from which libraries are logged too."""

WAITING = 5000
"""Lines that wait for their reader at most."""

FAREWELL = 1.0
"""Seconds that the end of the program waits at most for lines to be read."""

_STANDARD_ERROR = 2
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(logging_format: str, verbosity: int, stream: TextIO | None = None) -> None:
    """Send every log line to `stream` (standard error if None) in the given format (`text` or `json`); replaces earlier settings."""
    output = logging.StreamHandler(stream) if stream else Relay(_STANDARD_ERROR)
    output.setFormatter(json_formatter() if logging_format == "json" else TextFormatter())
    logging.getLogger().handlers[:] = [output]
    set_verbosity(verbosity)
    logging.captureWarnings(capture=True)


def set_verbosity(verbosity: int) -> None:
    """Say from now on what the verbosity asks for."""
    logging.getLogger().setLevel(logging.DEBUG if verbosity >= LIBRARIES else logging.WARNING)
    logging.getLogger("pointsman").setLevel(logging.DEBUG if verbosity >= STEPS else logging.INFO)


def fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller handed over as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}


class Relay(logging.Handler):
    """Writes lines to a file descriptor from a thread of its own, so that logging never waits."""

    def __init__(self, descriptor: int, waiting: int = WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(waiting)
        self._lost = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; one that finds no room is lost, and counted. What objects say when Python itself ends is written at once."""
        if sys.is_finalizing():  # no thread runs anymore, and one that is started now would be waited for for ever
            self._write(self.format(record))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """Wait until everything is written, for `FAREWELL` seconds at most."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FAREWELL)

    def _write_all(self) -> None:
        while True:
            self._write(self._lines.get())
            if lost := self._take_lost():
                text = "log lines were lost, because nobody read them"
                facts = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text, "lines": lost}
                self._write(self.format(logging.makeLogRecord(facts)))
            self._lines.task_done()

    def _take_lost(self) -> int:
        self.acquire()  # `emit` is called under the same lock
        try:
            lost, self._lost = self._lost, 0
        finally:
            self.release()
        return lost

    def _write(self, line: str) -> None:
        rest = memoryview(f"{line}\n".encode(errors="backslashreplace"))
        with suppress(OSError):  # the reader is gone
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


class TextFormatter(logging.Formatter):
    """Writes `2026-01-31T12:00:00.123Z INFO loop: applied family=IPv4 changes=3`, then the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        parts = [_timestamp(record.created), record.levelname, f"{_logger(record.name)}:", _one_line(record.getMessage())]
        parts += [f"{key}={_value(value)}" for key, value in fields(record).items()]
        line = " ".join(parts)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def json_formatter() -> logging.Formatter:
    """Return the formatter that writes one JSON object per line: ts, level, logger, msg, and the event's own members."""
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - only where JSON is asked for

    class Formatter(JsonFormatter):
        def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
            return {key: value[:LIMIT] if isinstance(value, str) and key != "exc_info" else value for key, value in log_data.items()}

        def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - names of the base
            return _timestamp(record.created)

    names = {"asctime": "ts", "levelname": "level", "name": "logger", "message": "msg"}
    return Formatter(list(names), rename_fields=names)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _logger(name: str) -> str:
    return name.removeprefix("pointsman.")


def _one_line(text: str) -> str:
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return text if len(text) <= LIMIT else f"{text[:LIMIT]}... ({len(text)} characters)"


def _value(value: object) -> str:
    """Return a value as it stands in a text line: quoted only where it would be ambiguous."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if not text or any(character.isspace() or character in "\"=" for character in text):
        return _one_line(json.dumps(text, ensure_ascii=False))
    return _one_line(text)
