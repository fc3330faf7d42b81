"""The file in which an agent notes which frontends it serves, for the one that comes after it (pain 7).

It stands beside the status socket, in a folder whose content ends with the kernel's, as flows do. It is written whole, by renaming, a
moment after something changed; what cannot be read counts as not written, and the reason is told once. Losing it costs this only: flows of
frontends that go while no agent runs are not recognised. The notes of another node are not taken over.
"""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from pointsman.conntrack.tombstones import EMPTY, Notebook, Tombstones

log = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds between two writings at least."""
AGAIN: Final = 10.0
"""Seconds after which a writing that failed is tried again, unless something changes before."""


def beside(socket: str) -> Path:
    """Return where the notes of the agent with this status socket are."""
    return Path(socket).with_suffix(".flows.json")


def read(path: Path, node: str = "") -> Notebook:
    """Return what was noted, by the agent of this node (empty = whichever); nothing if it cannot be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Notebook)
    except FileNotFoundError:
        return EMPTY
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("what an earlier run noted of its frontends cannot be read", extra={"file": str(path), "error": str(error)})
        return EMPTY
    return found if not node or found.node == node else EMPTY


def write(path: Path, notebook: Notebook) -> None:
    """Write it down; raises OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(msgspec.json.encode(notebook))
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


class Notes:
    """The notes of one agent."""

    def __init__(self, path: Path, node: str) -> None:
        """Read what an earlier agent of this node left."""
        self.inherited = read(path, node)
        self._path = path
        self._node = node
        self._told = ""
        self._touched = asyncio.Event()

    def touch(self) -> None:
        """Say that something may have changed."""
        self._touched.set()

    async def run(self, tombstones: Tombstones) -> None:
        """Write down what changes, until cancelled."""
        written, failed = 0, False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN if failed else None):
                    await self._touched.wait()
            self._touched.clear()
            if tombstones.revision != written:
                revision, notebook = tombstones.revision, tombstones.notebook(self._node)
                try:
                    await asyncio.to_thread(write, self._path, notebook)
                except OSError as error:
                    failed = True
                    self._tell(str(error))
                else:
                    written, failed, self._told = revision, False, ""
                await asyncio.sleep(PAUSE)

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            log.warning("frontends cannot be noted for a later run", extra={"file": str(self._path), "error": text})
