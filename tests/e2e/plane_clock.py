"""Runs a Python program whose wall clock is wrong: `python plane_clock.py FILE PROGRAM [ARGUMENT ...]`.

The file holds the error in seconds and may change at any time: then the clock steps. Monotonic clocks are right, as they are on a machine
whose clock is set. Everything written in Python sees the wrong time; OpenSSL sees the right one. (A library in front of the C library's
clock would deceive that as well, but the usual one, libfaketime, now and then stops a child between fork and exec for ever.)
"""

import datetime
import runpy
import sys
import time
from pathlib import Path

REAL = {name: getattr(time, name) for name in ("time", "time_ns", "gmtime", "localtime", "ctime", "clock_gettime")}
NANO = 10**9


class Wrong:
    """The wrong clock."""

    def __init__(self, file):
        self._file = Path(file)

    def error(self):
        return int(self._file.read_text() or 0)

    def install(self):
        time.time = lambda: REAL["time"]() + self.error()
        time.time_ns = lambda: REAL["time_ns"]() + self.error() * NANO
        time.clock_gettime = lambda clock: time.time() if clock == time.CLOCK_REALTIME else REAL["clock_gettime"](clock)
        for name in ("gmtime", "localtime", "ctime"):
            setattr(time, name, lambda seconds=None, of=REAL[name]: of(time.time() if seconds is None else seconds))
        datetime.datetime = Dates


class Kind(type):
    """What the real class made counts as made by the wrong one."""

    def __instancecheck__(cls, one):
        return isinstance(one, RIGHT)


RIGHT = datetime.datetime


class Dates(RIGHT, metaclass=Kind):
    """Dates whose `now` is wrong."""

    @classmethod
    def now(cls, tz=None):
        return RIGHT.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return RIGHT.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)


if __name__ == "__main__":
    _, clock, *sys.argv = sys.argv
    Wrong(clock).install()
    runpy.run_path(sys.argv[0], run_name="__main__")
