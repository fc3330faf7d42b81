"""Log lines to standard output, many at once: `log` may write one per query, and a system call for each would cost more than the answer.

Lines wait for a twentieth of a second, or until there are many. The form is CoreDNS's: `[LEVEL] text`, no time (OBS-40). Whoever collects
them may stop reading: then some are kept and the others lost, which is told when he reads again. An answer never waits for a log.
"""

import asyncio
import logging
import os
import select
from typing import Final

DELAY: Final = 0.05
MANY: Final = 500
KEPT: Final = 256 * 1024
"""Bytes that wait for a reader at most."""
LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "fatal": "FATAL"}


class Lines(logging.Handler):
    """Collects lines for a file descriptor; takes records of `logging`, too."""

    def __init__(self, fd: int = 1) -> None:
        super().__init__()
        self._fd = fd
        self._writable = select.poll()
        self._writable.register(fd, select.POLLOUT)
        self._kept = b""
        self._lost = 0
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, level: str, text: str) -> None:
        """Write a line soon."""
        self._lines.append(f"[{LEVELS.get(level, 'INFO')}] {text}\n")
        if len(self._lines) >= MANY or (self._timer is None and not self._soon()):
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a module logs; facts beside the text follow it."""
        known = logging.LogRecord("", 0, "", 0, "", None, None).__dict__
        facts = " ".join(f"{key}={value}" for key, value in record.__dict__.items() if key not in known and key != "message")
        text = f"{record.getMessage()} ({facts})" if facts else record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self.tell(record.levelname.lower() if record.levelname.lower() in LEVELS else "error", text)

    def flush(self, patience: float = 0.0) -> None:
        """Write what waits, as far as somebody reads it; he is waited for `patience` seconds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._lines = self._lines, []
        data = self._kept + "".join(waiting).encode(errors="replace")
        self._kept = self._rest(data[self._written(data, patience) :])
        if self._kept:
            self._soon()
        elif self._lost:
            lost, self._lost = self._lost, 0
            self.tell("warning", f"{lost} lines are lost here: nobody read them")

    def _written(self, data: bytes, patience: float) -> int:
        """Write, and return how much needs to be written no more; a pipe that has room at all has it for one portion."""
        at = 0
        while at < len(data) and self._writable.poll(patience * 1000):
            try:
                at += os.write(self._fd, data[at : at + select.PIPE_BUF])
            except BlockingIOError:
                return at
            except OSError:  # nobody will ever read it
                return len(data)
        return at

    def _rest(self, data: bytes) -> bytes:
        """Return what is kept of data; the lines that are too many are counted."""
        if len(data) <= KEPT:
            return data
        end = data.rfind(b"\n", 0, KEPT) + 1
        self._lost += data.count(b"\n", end)
        return data[:end]

    def _soon(self) -> bool:
        """Write later; return whether there is a loop that will."""
        try:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self.flush)
        except RuntimeError:
            return False
        return True
