"""DNS without the rest of the agent: what `pointsman dns serve` runs.

It reads the cluster from a folder of manifests or from the API, and serves a Corefile at a place of its own; nothing of the kernel is
programmed, so nothing is held back until rules are there, which it says once. SIGTERM ends it after the Corefile's lameduck, SIGUSR1 has
the Corefile read again now.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from pointsman.dns.corefile.files import read
from pointsman.dns.needs import needs
from pointsman.kube.api import ApiSource
from pointsman.kube.client import ApiClient, connect
from pointsman.kube.events import Batch, Source
from pointsman.proxy import memory
from pointsman.proxy.dns import questions
from pointsman.proxy.dns.service import DnsError, DnsService, Settings
from pointsman.proxy.dns.sockets import Place
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.dns.wishes import Wishes, wishes
from pointsman.routing.snapshot import EMPTY, advance

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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loaded = await asyncio.to_thread(read, options.corefile)
    if loaded.corefile is None:
        raise DnsError("\n".join(map(str, loaded.findings)))
    wanted = wishes(loaded.corefile)
    telling = Telling(pods=wanted.all_pods or wanted.own_pods)
    settings = Settings(
        corefile=options.corefile, listen=options.listen, workers=options.workers, node=options.node or socket.gethostname(),
        client_rate=options.client_rate, reads=needs(loaded.corefile),
    )  # fmt: skip
    service = DnsService(settings, telling)
    await service.prepare()
    loop.add_signal_handler(signal.SIGUSR1, service.reload)
    work: list[Awaitable[None]] = [service.run(), questions.serve(options.socket, service), _slim_down(telling)]
    client: ApiClient | None = None
    if wanted.cluster:
        source, client = await _source(options, wanted)
        work.append(source.run(_sink(telling)))
        log.info("names are answered as soon as the API says them: no rules are programmed here that could be waited for")
    try:
        await _until(stop, work, service.farewell)
    finally:
        await service.close()
        if client is not None:
            await client.close()
    return 0


async def _slim_down(telling: Telling) -> None:
    """Give the memory of the start back when the cluster has been told, and what is freed later now and then."""
    await telling.begun.wait()
    await asyncio.sleep(TOLD)
    await memory.stay_low()


async def _until(stop: asyncio.Event, work: list[Awaitable[None]], farewell: Callable[[], Awaitable[None]]) -> None:
    """Do everything until told to stop, and until the farewell is over; an error of one part ends all."""
    tasks = [asyncio.ensure_future(each) for each in work]
    stopping = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for each in done - {stopping}:
            each.result()
        await farewell()
    finally:
        for each in (*tasks, stopping):
            each.cancel()
        for each in tasks:
            with suppress(asyncio.CancelledError):
                await each


def _sink(telling: Telling) -> Callable[[Batch], None]:
    """Return what takes the batches of a source."""
    snapshot = EMPTY
    known: tuple[object, ...] = ()

    def take(batch: Batch) -> None:
        nonlocal snapshot, known
        snapshot, dirty = advance(snapshot, batch)
        telling.advance(snapshot, dirty)
        if batch.problems is not None and batch.problems != known:
            for problem in batch.problems:
                if problem not in known:
                    log.warning("%s", problem)
            known = batch.problems

    return take


async def _source(options: Options, wanted: Wishes) -> tuple[Source, ApiClient | None]:
    """Return where the cluster's objects come from."""
    if options.manifests:
        from pointsman.kube.manifests import ManifestSource  # noqa: PLC0415 - who reads the API need not wait for YAML and inotify

        return ManifestSource(Path(options.manifests)), None
    client = await connect(options.kubeconfig or wanted.kubeconfig, options.master or wanted.server)
    node = options.node or socket.gethostname()
    source = ApiSource(client, node, selectors=wanted.selectors, pods=wanted.own_pods, all_pods=wanted.all_pods, imports=wanted.imports)
    return source, client
