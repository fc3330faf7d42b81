"""The configuration file, followed while the agent runs: when its content changes, the agent ends and is started afresh (PROC-07).

What counts is the content, not the event: a file that is touched, or swapped for an equal one, changes nothing. The file is watched itself
(a bind mount shows its changes nowhere else) and so is its folder, because editors replace files and a ConfigMap volume swaps a link beside
the file. A file that has gone for a while is waited for: rules in force are better than none. Where the kernel has no watches left, the
file is compared now and then, as it is anyway.
"""

import asyncio
import hashlib
import logging
from contextlib import suppress
from pathlib import Path

from asyncinotify import Inotify, Mask
from msgspec import Struct

log = logging.getLogger(__name__)

SETTLE = 0.2
"""Seconds to wait for the end of a burst of events: a file is being written, or a link swapped."""

BURST = 5.0
"""Seconds after which a burst is not waited for any longer: something else in the folder may be written all the time."""

RESCAN = 60.0
"""Seconds after which the content is compared whatever was heard."""

_FOLDER = Mask.CREATE | Mask.CLOSE_WRITE | Mask.MOVE | Mask.DELETE
_FILE = Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.MOVE_SELF | Mask.DELETE_SELF


class ConfigFile(Struct, frozen=True):
    """A configuration file and the digest of what was read from it."""

    path: Path
    digest: bytes


class Stop(asyncio.Event):
    """Set when the agent is to end; `status` is its exit status then."""

    status = 0


def digest(content: bytes) -> bytes:
    """Return what tells two contents apart."""
    return hashlib.sha256(content).digest()


async def changed(file: ConfigFile, *, settle: float = SETTLE, burst: float = BURST, rescan: float = RESCAN) -> None:
    """Wait until the file's content is another than the one that was read."""
    with Inotify() as inotify:
        missing = False
        while True:
            _watch(inotify, file.path)
            try:
                now = digest(await asyncio.to_thread(file.path.read_bytes))
            except OSError as error:
                if not missing:
                    log.warning("the configuration file cannot be read; going on as before", extra={"error": str(error)})
                missing = True
            else:
                if now != file.digest:
                    return
                missing = False
            await _something(inotify, settle, burst, rescan)


async def end_on_change(file: ConfigFile, stop: Stop) -> None:
    """End the agent with an error when the file changes."""
    await changed(file)
    log.error("the configuration file changed; ending, to be started afresh with it", extra={"file": str(file.path)})
    stop.status = 1
    stop.set()


async def _something(inotify: Inotify, settle: float, burst: float, rescan: float) -> None:
    """Wait for an event and for the end of its burst, at most for the time after which the content is compared anyway."""
    with suppress(TimeoutError):
        async with asyncio.timeout(rescan):
            await inotify.get()
        async with asyncio.timeout(burst):
            while True:
                async with asyncio.timeout(settle):
                    await inotify.get()


def _watch(inotify: Inotify, path: Path) -> None:
    """Watch the file that is there now, and every folder in which a name on the way to it may be replaced."""
    for place, mask in ((path.parent, _FOLDER), (path, _FILE)):
        with suppress(OSError):  # gone, or no watches left: the comparison now and then remains
            inotify.add_watch(place, mask)
