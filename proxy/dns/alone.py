"""DNS without the rest of the agent: what `pointsman dns serve` runs.

It reads the cluster from a folder of manifests or from the API, and serves a Corefile at a place of its own; nothing of the kernel is
programmed, so nothing is held back until rules are there, which it says once. SIGTERM and SIGINT end it after the Corefile's lameduck, or
now if they come twice, SIGQUIT now; SIGUSR1 has the Corefile read again; SIGHUP means nothing (OBS-51).
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct
from pointsman.dns.corefile.files import read
from pointsman.dns.needs import needs
from pointsman.proxy import memory
from pointsman.proxy.dns import questions
from pointsman.proxy.dns.reading import Origin, Reading
from pointsman.proxy.dns.service import DnsError, DnsService, Settings
from pointsman.proxy.dns.sockets import Place
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.dns.wishes import wishes

log = logging.getLogger(__name__)

TOLD: Final = 2.0
"""Seconds after which a list that is told has left this process."""


class Options(Struct, frozen=True, kw_only=True):
    """The command line of `pointsman dns serve`."""

    corefile: str
    manifests: str = ""
    kubeconfig: str = ""
    master: str = ""
    listen: Place | None = None
    workers: int = 1
    client_rate: int = 0
    node: str = ""
    socket: str = ""


async def serve(options: Options) -> int:
    """Serve until told to stop; return the exit status. Raises DnsError, ListenError, WishError, ApiConfigError."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    loop.add_signal_handler(signal.SIGQUIT, stop.insist)
    loaded = await asyncio.to_thread(read, options.corefile)
    if loaded.corefile is None:
        raise DnsError("\n".join(map(str, loaded.findings)))
    telling = Telling()
    reading = Reading(Origin(options.manifests, options.kubeconfig, options.master, options.node), telling)
    settings = Settings(
        corefile=options.corefile, listen=options.listen, workers=options.workers, node=options.node or socket.gethostname(),
        client_rate=options.client_rate, reads=needs(loaded.corefile), read=reading.read,
    )  # fmt: skip
    service = DnsService(settings, telling)
    try:
        await service.prepare()
        service.heed()
        await reading.open(wishes(loaded.corefile))
        if service.cluster:
            log.info("names are answered as soon as the API says them: no rules are programmed here that could be waited for")
        work: list[Awaitable[None]] = [service.run(), reading.run(), questions.serve(options.socket, service), _slim_down(telling)]
        await _until(stop, work, service.farewell)
    finally:
        await service.close()
        await reading.close()
    return 0


async def _slim_down(telling: Telling) -> None:
    """Give the memory of the start back when the cluster has been told, and what is freed later now and then."""
    await telling.begun.wait()
    await asyncio.sleep(TOLD)
    await memory.stay_low()


class Stop:
    """What signals say about the end (OBS-51): the first asks for it, the second, or SIGQUIT, does not want to wait for lameduck."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def ask(self) -> None:
        """Take a signal that asks for the end."""
        (self.insisted if self.asked.is_set() else self.asked).set()

    def insist(self) -> None:
        """Take a signal that wants the end now."""
        self.asked.set()
        self.insisted.set()

    async def unless_insisted(self, work: Awaitable[None]) -> None:
        """Do something on the way to the end, until it must be now."""
        doing, insisting = asyncio.ensure_future(work), asyncio.create_task(self._insisting())
        try:
            await asyncio.wait({doing, insisting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            doing.cancel()
            insisting.cancel()

    async def _insisting(self) -> None:
        await self.insisted.wait()


async def _until(stop: Stop, work: list[Awaitable[None]], farewell: Callable[[], Awaitable[None]]) -> None:
    """Do everything until told to stop, and until the farewell is over; an error of one part ends all."""
    tasks = [asyncio.ensure_future(each) for each in work]
    stopping = asyncio.ensure_future(stop.asked.wait())
    try:
        done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for each in done - {stopping}:
            each.result()
        await stop.unless_insisted(farewell())
    finally:
        for each in (*tasks, stopping):
            each.cancel()
        for each in tasks:
            with suppress(asyncio.CancelledError):
                await each
