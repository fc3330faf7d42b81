"""Log lines to standard output, many at once: `log` may write one per query, and a system call for each would cost more than the answer.

Lines wait for a twentieth of a second, or until there are many. The form is CoreDNS's: `[LEVEL] text`, no time (OBS-40).
"""

import asyncio
import logging
import os
from typing import Final

DELAY: Final = 0.05
MANY: Final = 500
LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "fatal": "FATAL"}


class Lines(logging.Handler):
    """Collects lines for a file descriptor; takes records of `logging`, too."""

    def __init__(self, fd: int = 1) -> None:
        super().__init__()
        self._fd = fd
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, level: str, text: str) -> None:
        """Write a line soon."""
        self._lines.append(f"[{LEVELS.get(level, 'INFO')}] {text}\n")
        if len(self._lines) >= MANY:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(DELAY, self.flush)
            except RuntimeError:
                self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a module logs; facts beside the text follow it."""
        known = logging.LogRecord("", 0, "", 0, "", None, None).__dict__
        facts = " ".join(f"{key}={value}" for key, value in record.__dict__.items() if key not in known and key != "message")
        text = f"{record.getMessage()} ({facts})" if facts else record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self.tell(record.levelname.lower() if record.levelname.lower() in LEVELS else "error", text)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._lines = self._lines, []
        data = "".join(waiting).encode(errors="replace")
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:
                return
