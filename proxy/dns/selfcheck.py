"""The check of one's own health: /health is asked as a kubelet would, once a second, and its time is told (OBS-19).

A loop that is busy answers late, and shows here before a probe fails. What is not answered within three seconds, cannot be connected to, or
is no 200 is a failure, as it is for a kubelet; an answer that takes longer than a second is logged.

`service` runs it where the Corefile says `health`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from pointsman.dns.tally import Sample, Tally
from pointsman.proxy.config import split_host_port

log = logging.getLogger(__name__)

PERIOD: Final = 1.0
PATIENCE: Final = 3.0
LATE: Final = 1.0
"""Seconds between two checks, until one has failed, and from which on an answer is worth a line."""
BOUNDS: Final = (0.00025, 0.0025, 0.025, 0.25, 2.5)
DURATION: Final = "coredns_health_request_duration_seconds"
FAILURES: Final = "coredns_health_request_failures_total"
_ANY: Final = frozenset({"::", "0.0.0.0"})  # noqa: S104 - who listens there listens everywhere, in both families if there are two


class SelfCheck:
    """Asks, and counts."""

    def __init__(self, period: float = PERIOD, patience: float = PATIENCE) -> None:
        self._tally = Tally()
        self._period = period
        self._patience = patience

    async def run(self, addresses: Callable[[], Iterable[str]]) -> None:
        """Ask at each of the addresses (`ip:port`) that there are then, until cancelled."""
        while True:
            await asyncio.sleep(self._period)
            for address in addresses():
                await self.check(address)

    async def check(self, address: str) -> None:
        """Ask once."""
        failures = self._tally.cell(FAILURES)
        clock = asyncio.get_running_loop().time
        began = clock()
        healthy = False
        with suppress(OSError, ValueError):  # a time-out is an OSError
            async with asyncio.timeout(self._patience):
                healthy = await _asked(address)
        if not healthy:
            failures[0] += 1
            return
        took = clock() - began
        self._tally.histogram(DURATION, BOUNDS).observe(took)
        if took > LATE:
            log.warning("Local health request to %s took more than 1s: %.3fs", address, took)

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted."""
        return self._tally.dump()


async def _asked(address: str) -> bool:
    """Return whether /health answers with 200. Raises OSError."""
    host, port = split_host_port(address)
    reader, writer = await asyncio.open_connection("127.0.0.1" if host in _ANY else host, port)
    try:
        writer.write(f"GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode("ascii"))
        return (await reader.readline()).split()[1:2] == [b"200"]
    finally:
        writer.close()
