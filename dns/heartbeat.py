"""Signs of life that the kernel keeps: while the resolver works, its addresses are named in lists of `recent`, again and again.

Rules lead queries to this process only while its addresses were named there within the last second (NLD-42). So whatever stops this process
(a signal, the lack of memory, an endless loop), the ordinary Service rules take over by themselves, and there is nothing to clean. The
event loop beats, not a thread: a loop that answers nobody must not look alive. Of several workers each has a share of the clients, which
nobody else answers: so each notes its beats where the others see them (`Peers`), and nobody names anything unless all beat. A list that
cannot be written is told once; the rules that it belongs to may not be there yet.

`resolver` beats from the moment that it reads its sockets, until it is told to end. Source: xt_recent in iptables-extensions(8).
"""

import asyncio
import errno
import logging
import mmap
import os
import time
from collections.abc import Iterable, Mapping
from typing import Final

log = logging.getLogger(__name__)

ABSENT: Final = os.strerror(errno.ENOENT)
"""Why a list cannot be written whose rules are not there yet."""

PERIOD: Final = 0.25
"""Seconds between two signs; a quarter of the time for which one is good."""
LATE: Final = 0.75
"""Seconds after which a worker that has not beaten counts as gone."""
SIZE: Final = 8
"""Bytes of a moment in the memory that workers share."""


class Peers:
    """When each worker beat last, in memory that they share: a file descriptor with `SIZE` bytes for each."""

    def __init__(self, fd: int, worker: int) -> None:
        self._beats = memoryview(mmap.mmap(fd, 0)).cast("d")
        self._worker = worker

    def beat(self) -> bool:
        """Note that this worker beats; return whether all do."""
        now = self._beats[self._worker] = time.monotonic()
        return all(now - each < LATE for each in self._beats)

    def leave(self) -> None:
        """Let the others see at once that this worker ends."""
        self._beats[self._worker] = 0.0


class Heartbeat:
    """Names addresses in lists; `places` gives, by the file of a list, the addresses that belong there."""

    def __init__(self, places: Mapping[str, Iterable[str]], peers: Peers | None = None) -> None:
        self._places = {path: tuple(addresses) for path, addresses in places.items()}
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[str] = set()
        self._peers = peers
        self._named = False

    def start(self) -> None:
        """Beat now, and then for ever; to be called in the event loop."""
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self.start)
        whole = self._peers is None or self._peers.beat()
        if whole or self._named:
            self._all("+" if whole else "-")
        self._named = whole

    def stop(self, *, keep: bool = False) -> None:
        """Beat no more, and take the addresses back: from now on queries go where the Service rules lead them.

        With `keep` they stay as they are: a successor names them already.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if keep:
            return
        if self._peers is not None:
            self._peers.leave()
        self._all("-")

    def _all(self, sign: str) -> None:
        for path, addresses in self._places.items():
            self._name(path, addresses, sign)

    def _name(self, path: str, addresses: Iterable[str], sign: str) -> None:
        error = write(path, addresses, sign)
        if error and error not in self._told:
            self._told.add(error)
            level = logging.DEBUG if error == ABSENT else logging.WARNING
            log.log(level, "queries are not led here, but to the cluster's DNS: %s cannot be written: %s", path, error)


def write(path: str, addresses: Iterable[str], sign: str) -> str:
    """Add (`+`) or remove (`-`) addresses in a list; return why it could not be done, empty if it could."""
    for address in addresses:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # anew for each: the kernel takes one address, at the beginning
            try:
                os.write(handle, f"{sign}{address}\n".encode())
            finally:
                os.close(handle)
        except OSError as error:
            return error.strerror or str(error)
    return ""
