"""Signs of life that the kernel keeps: while the resolver works, its addresses are named in lists of `recent`, again and again.

Rules lead queries to this process only while its addresses were named there within the last second (NLD-42). So whatever stops this process
(a signal, the lack of memory, an endless loop), the ordinary Service rules take over by themselves, and there is nothing to clean. The
event loop beats, not a thread: a loop that answers nobody must not look alive. A list that cannot be written is told once; the rules that
it belongs to may not be there yet.

`resolver` beats from the moment that it reads its sockets, until it is told to end. Source: xt_recent in iptables-extensions(8).
"""

import asyncio
import errno
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Final

log = logging.getLogger(__name__)

ABSENT: Final = os.strerror(errno.ENOENT)
"""Why a list cannot be written whose rules are not there yet."""

PERIOD: Final = 0.25
"""Seconds between two signs; a quarter of the time for which one is good."""


class Heartbeat:
    """Names addresses in lists; `places` gives, by the file of a list, the addresses that belong there."""

    def __init__(self, places: Mapping[str, Iterable[str]]) -> None:
        self._places = {path: tuple(addresses) for path, addresses in places.items()}
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[str] = set()

    def start(self) -> None:
        """Beat now, and then for ever; to be called in the event loop."""
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self.start)
        for path, addresses in self._places.items():
            self._name(path, addresses, "+")

    def stop(self, *, keep: bool = False) -> None:
        """Beat no more, and take the addresses back: from now on queries go where the Service rules lead them.

        With `keep` they stay as they are: a successor names them already.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for path, addresses in self._places.items() if not keep else ():
            self._name(path, addresses, "-")

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
