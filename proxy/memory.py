"""Keeping the resident memory near what is needed.

The start is the peak: whole files, rule sets as text, lists on the way from one stage to the next. The C library keeps what was freed for
later, in an arena per thread, and later never comes: afterwards an agent only does small work. So one arena is asked for at the beginning,
and when everything is programmed the freed pages go back to the kernel. The objects that are there then mostly stay for ever: they are
taken out of the garbage collector's sight, which otherwise would walk through all of them again and again. While they are made it looks
rarely, for the same reason: that takes a tenth off the start of a large cluster. Reading the kernel's rules back, which is done now and
then, makes a second copy of them for a moment, so pages are given back once a minute from then on.

Arenas and pages are glibc's calls; where the C library has none, nothing happens.
"""

import asyncio
import ctypes
import gc
import os
from pathlib import Path
from typing import NoReturn

_ARENA_MAX = -8  # M_ARENA_MAX of mallopt(3)
_MANY = 100_000
_USUAL = gc.get_threshold()[0]

TRIM_PERIOD = 60.0
"""Seconds between two times that freed memory is given back to the kernel."""


def use_one_arena() -> bool:
    """Let all threads share one arena; call it before threads allocate. Returns whether the C library takes it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_ARENA_MAX, 1))


def collect_rarely() -> None:
    """Let the garbage collector look only after every hundred thousand new objects, until `give_back`."""
    gc.set_threshold(_MANY, *gc.get_threshold()[1:])


def give_back() -> bool:
    """Return freed memory to the kernel, and spare the garbage collector what is there now. Returns whether any was given back."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_USUAL, *gc.get_threshold()[1:])
    return trim()


def trim() -> bool:
    """Return freed memory to the kernel; takes some milliseconds. Returns whether any was given back."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return malloc_trim is not None and bool(malloc_trim(0))


async def stay_low() -> NoReturn:
    """Give back what the start took, and what is freed later now and then, until cancelled."""
    give_back()
    while True:
        await asyncio.sleep(TRIM_PERIOD)
        trim()


def resident(process: int | str = "self") -> int:
    """Return the resident memory of a process, by default this one, in bytes. Raises OSError if there is none."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
