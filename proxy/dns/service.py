"""The DNS of this process: its sockets, a supervised resolver per worker, and what a Corefile wants served beside them.

    Corefile ─→ places ─→ sockets ─┐
    snapshots ─→ telling ──────────┼─→ supervisor ─→ resolver (a process)
    local addresses (agent only) ──┘        └─→ answers, lost: who leads queries here is told

`dns serve` runs it alone; the agent runs it beside its loops, and tells it at which addresses of this node to listen. Sockets are taken
over from a resolver that an earlier process left running; it is told to go once ours answers, so a restart loses no query. At the end the
resolver either goes after what a Corefile calls lameduck, or stays for a successor (`linger`).

The resolver reads the Corefile again by itself; here it is compared only for where to listen and what to serve beside (OBS-50).
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec import Struct, structs
from pointsman.dns import handover
from pointsman.dns.corefile.files import Reader
from pointsman.dns.corefile.load import Corefile, Loaded
from pointsman.dns.corefile.options import HealthOptions, KubernetesOptions, ReloadOptions
from pointsman.dns.feed import OTHER, Answer, Reload, Start
from pointsman.dns.needs import needs, unmet
from pointsman.dns.tally import Sample
from pointsman.proxy import servers
from pointsman.proxy.dns.interfaces import interfaces
from pointsman.proxy.dns.selfcheck import SelfCheck
from pointsman.proxy.dns.servers import State, address, build_info, process_samples
from pointsman.proxy.dns.servers import servers as wanted_servers
from pointsman.proxy.dns.setup import Setup, Step
from pointsman.proxy.dns.sockets import EVERYWHERE, ListenError, Place, Sockets, places
from pointsman.proxy.dns.supervisor import Callbacks, Supervisor
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.servers import Server

log = logging.getLogger(__name__)

COMPARE = 30.0
"""Seconds between two looks at a Corefile that does not say `reload`: only its listeners may change then, by a restart."""

AGAIN = 5.0
"""Seconds between two looks at a Corefile while another one waits for what it needs to be read."""


class DnsError(Exception):
    """DNS cannot work as it is told; the text says why and what to do."""


class Settings(Struct, frozen=True, kw_only=True):
    """How DNS is run: the Corefile; one place for all server blocks (`listen`), else where those without bind listen (`addresses`).

    `heartbeat` says into which lists of the kernel belong which addresses (`dns.heartbeat`), `patient` not to give up at the first failure.
    One client may ask `client_rate` queries per second (0: no limit). With `search_ahead` the last step of a search path begins at the
    first (`dns.speculation`). `reads` is what is read of the cluster (`dns.needs`): for a Corefile that needs more `read` has that read,
    and returns when it is known; it raises DnsError where that cannot be. `setup` counts what fails, where DNS is set up on a node.
    """

    corefile: str
    listen: Place | None = None
    addresses: tuple[str, ...] = EVERYWHERE
    workers: int = 1
    node: str = ""
    linger: float = 0.0
    inherit: bool = False
    patient: bool = False
    search_ahead: bool = True
    client_rate: int = 0
    reads: dict[str, str] | None = None
    read: Callable[[Corefile], Awaitable[None]] | None = None
    heartbeat: Callable[[Sequence[str]], dict[str, tuple[str, ...]]] = lambda _: {}
    setup: Setup | None = None


class DnsService:
    """Runs resolvers; `on_change` is called whenever one begins or ceases to answer."""

    def __init__(self, settings: Settings, telling: Telling, on_change: Callable[[], None] = lambda: None) -> None:
        self.settings = settings
        self.telling = telling
        self.corefile = Corefile((), "")
        self._reader = Reader(settings.corefile)
        self.supervisors: tuple[Supervisor, ...] = ()
        self.leaving = False
        self._on_change = on_change
        self._sockets = Sockets(settings.workers, early=settings.inherit)
        self._taken: tuple[handover.Taken, ...] = ()
        self._giving: dict[int, socket.socket] = {}
        self._rearranged = asyncio.Event()
        self._check = SelfCheck()

    @property
    def serving(self) -> bool:
        """Return whether every worker answers."""
        return bool(self.supervisors) and all(each.serving for each in self.supervisors)

    @property
    def succeeds(self) -> bool:
        """Return whether a resolver of an earlier process still answers at our sockets."""
        return bool(self._taken)

    @property
    def listens(self) -> tuple[Place, ...]:
        """Return where it is listened."""
        return tuple(sorted(self._sockets.places))

    @property
    def cluster(self) -> bool:
        """Return whether the Corefile has the cluster's names."""
        return any(True for _ in self.corefile.all(KubernetesOptions))

    async def prepare(self) -> None:
        """Read the Corefile and open the sockets. Raises DnsError, ListenError."""
        loaded = await asyncio.to_thread(self._reader.read)
        if loaded.corefile is None:
            raise DnsError("\n".join(map(str, loaded.findings)))
        for finding in loaded.findings:
            log.warning("%s", finding)
        self.corefile = loaded.corefile
        if self.settings.inherit and not self._taken and (taken := await asyncio.to_thread(handover.take)):
            self._taken = taken
            given = [listener for each in taken for listener in each.listeners]
            self._sockets.adopt(given)
            log.info("the sockets of what runs here are taken over", extra={"resolvers": len(taken), "sockets": len(given)})
        await self._listen()

    async def run(self) -> None:
        """Serve until cancelled. `prepare` comes first.

        Raises DnsError if the resolver cannot work, unless told to be patient; ListenError if not all workers can have sockets.
        """
        self._complete()
        callbacks = Callbacks(self._start, lambda _: self._on_change(), lambda _: self._on_change())
        self.supervisors = tuple(Supervisor(worker, self.telling, callbacks) for worker in range(self.settings.workers))
        for place in sorted(self._sockets.places):
            log.info("DNS listens", extra={"address": str(place)})
        async with asyncio.TaskGroup() as group:
            for each in self.supervisors:
                group.create_task(each.run())
            group.create_task(self._serve_beside())
            group.create_task(self._check.run(lambda: {address(each.address, 8080) for each in self.corefile.all(HealthOptions)}))
            group.create_task(self._compare())
            if self._taken:
                group.create_task(self._succeed())
            if not self.settings.patient:
                group.create_task(self._first())

    async def close(self, *, linger: bool = False) -> None:
        """End the resolvers, after they answered what they have read; with `linger` they stay for a successor."""
        self.leaving = True
        running = [each.resolver for each in self.supervisors if each.resolver is not None and not each.resolver.ended.done()]
        if linger:
            for each in running:
                each.release()
        else:
            await asyncio.gather(*(each.end() for each in running), *(each.settled() for each in self.supervisors))
        self._sockets.close()
        for giving in self._giving.values():
            giving.close()
        for taken in self._taken:
            taken.leave()

    async def farewell(self) -> None:
        """Serve on for the seconds that the Corefile calls lameduck, no longer ready, so that others are asked from now on (OBS-30)."""
        self.leaving = True
        if seconds := max((each.lameduck for each in self.corefile.all(HealthOptions)), default=0.0):
            log.info("DNS goes on for a moment before it ends", extra={"seconds": seconds})
            await asyncio.sleep(seconds)

    async def listen_at(self, addresses: Sequence[str]) -> None:
        """Listen at these addresses where the Corefile names none. Raises ListenError; everything stays as it was then."""
        alive = self._alive()
        before, self.settings = self.settings.addresses, structs.replace(self.settings, addresses=tuple(addresses))
        try:
            await self._rearrange(alive)
        except ListenError:
            self.settings = structs.replace(self.settings, addresses=before)
            raise

    def heed(self) -> None:
        """Take the signals that are no end, as CoreDNS does (OBS-51)."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.reload)
        loop.add_signal_handler(signal.SIGHUP, log.info, "SIGHUP means nothing here; SIGUSR1 has the Corefile read again")

    def reload(self) -> None:
        """Have everybody read the Corefile again now."""
        for each in self.supervisors:
            if each.resolver is not None:
                each.resolver.tell(Reload())
        self._rearranged.set()

    async def samples(self) -> list[Sample]:
        """Return what all workers counted, and what there is to tell of them."""
        running = [each.resolver for each in self.supervisors if each.resolver is not None]
        answers = await asyncio.gather(*(each.ask("stats") for each in running))
        found = [build_info(), *self._check.samples(), *(sample for answer in answers if answer is not None for sample in answer.samples)]
        for each in running:
            found += process_samples(each.process.pid)
        if self.settings.setup is not None:
            found += self.settings.setup.samples()
        found += [Sample("pointsman_dns_serving", (str(one.worker),), (float(one.serving),)) for one in self.supervisors]
        known = {
            "pointsman_dns_synced": float(self.telling.complete),
            "pointsman_dns_stale": float(self.telling.stale),
            "pointsman_dns_restarts_total": float(sum(one.restarts for one in self.supervisors)),
            "pointsman_dns_last_change_timestamp_seconds": round(self.telling.last_change, 3),
            "pointsman_dns_waiting_services": float(self.telling.waiting),
        }
        return [*found, *(Sample(name, (), (value,)) for name, value in known.items())]

    async def ask(self, what: str, name: str = "", qtype: str = "A", client: str = "") -> Answer | None:
        """Return what the first worker that answers says to a question about itself."""
        for each in self.supervisors:
            if each.resolver is not None and (found := await each.resolver.ask(what, name, qtype, client)) is not None:
                return found
        return None

    # --- what supervisors ask and tell ------------------------------------------------------------------------------

    def _start(self, worker: int) -> Start:
        if worker in self._giving:
            self._giving.pop(worker).close()
        if self.settings.linger:
            self._giving[worker] = handover.listen()
        return Start(
            listeners=self._sockets.of(worker),
            corefile=self.settings.corefile,
            everywhere=self.settings.listen is not None,
            cluster=self.cluster,
            node=self.settings.node,
            local=self._sockets.local,
            worker=worker,
            heartbeat=self.settings.heartbeat(self._alive()),
            handover=self._giving[worker].fileno() if worker in self._giving else -1,
            linger=self.settings.linger,
            search_ahead=self.settings.search_ahead,
            client_rate=float(self.settings.client_rate),
            reads=self.settings.reads,
            beats=self._sockets.beats,
        )

    async def _succeed(self) -> None:
        """Tell the resolvers of the earlier process to go once ours answer; what they had and nobody wants is nobody's then."""
        while not self.serving:  # noqa: ASYNC110 - each supervisor has a state of its own
            await asyncio.sleep(0.05)
        taken, self._taken = self._taken, ()
        for each in taken:
            await asyncio.to_thread(each.end)
        self._sockets.settle()
        log.info("the resolvers of the earlier process are told to go")

    async def _first(self) -> None:
        """Raise the reason if the very first resolver cannot work; whatever happens later is mended."""
        while any(each.resolver is None for each in self.supervisors):
            if failure := next((each.failure for each in self.supervisors if each.failure), ""):
                raise DnsError(failure)
            await asyncio.sleep(0.05)

    # --- the Corefile -----------------------------------------------------------------------------------------------

    async def _listen(self) -> bool:
        """Open the sockets that are wanted now; return whether that changed anything. Raises ListenError."""
        known = await interfaces()
        chosen = self.settings.listen
        wanted = (chosen,) if chosen is not None else places(self.corefile, known, self.settings.addresses)
        return self._sockets.want(wanted, (address for addresses in known.values() for address in addresses))

    async def _rearrange(self, alive: Sequence[str]) -> None:
        """Listen where it is wanted now; resolvers are replaced if that is elsewhere. Raises ListenError."""
        changed = await self._listen()
        if changed and self.supervisors:
            self._complete()
        if changed or self._alive() != alive:
            for each in self.supervisors:
                each.renew()

    def _complete(self) -> None:
        """Open what workers lack, of places that were taken over; who is patient goes on with fewer. Raises ListenError."""
        try:
            self._sockets.complete()
        except ListenError as error:
            if not self.settings.patient:
                raise
            log.error("not all workers of DNS have their share of the queries: %s", error)  # noqa: TRY400 - the text says it all

    def _alive(self) -> tuple[str, ...]:
        """Return the addresses of this node at whose port 53 it is listened."""
        there = {(place.address, place.port) for place in self._sockets.places}
        return tuple(address for address in self.settings.addresses if (address, 53) in there)

    async def _compare(self) -> None:
        """Look at the Corefile now and then, for where to listen, what to serve beside, and what must be read of the cluster."""
        refused = ""
        while True:
            reload = self.corefile.one(ReloadOptions)
            with suppress(TimeoutError):
                async with asyncio.timeout(reload.interval if reload is not None else COMPARE):
                    await self._rearranged.wait()
            asked = self._rearranged.is_set()
            self._rearranged.clear()
            if reload is None and not asked:
                continue
            loaded = await asyncio.to_thread(self._reader.read)
            if loaded.fingerprint == self.corefile.fingerprint:
                if lack := self._lack(self.corefile):  # another one that was read for could not be taken over
                    await self._read_more(self.corefile, lack)
            elif loaded.fingerprint != refused or asked:
                refused = "" if await self._adopt(loaded) else loaded.fingerprint

    async def _adopt(self, loaded: Loaded) -> bool:
        """Take another Corefile over; return False if it is refused for what it says."""
        corefile, verdict = loaded.corefile, await self._verdict(loaded)
        if verdict == OTHER:  # the next look is at what it says now
            return True
        lack = self._lack(corefile) if corefile is not None else ""
        if corefile is None or verdict or (lack and not await self._read_more(corefile, lack)):
            if self.settings.setup is not None:
                self.settings.setup.failed(Step.COREFILE)
            return False
        before, self.corefile = self.corefile, corefile
        try:
            await self._rearrange(self._alive())
        except ListenError as error:
            self.corefile = before
            log.error("the new Corefile is not taken over: %s", error)  # noqa: TRY400 - the text says it all
            return True
        if lack:
            log.info("what the new Corefile needs has been read: resolvers with it take over")
            for each in self.supervisors:
                each.renew()
        return True

    async def _read_more(self, corefile: Corefile, lack: str) -> bool:
        """Have what a Corefile needs read of the cluster; return whether it is there. The former one stays until then.

        Where it does not come, such as from an API server that is away, it is waited for until the Corefile says something else.
        """
        if self.settings.read is None:
            log.error("the new Corefile is not taken over: %s", lack)
            return False
        log.info("the Corefile waits until what it needs has been read: %s", lack)
        reading = asyncio.ensure_future(self.settings.read(corefile))
        try:
            while not (await asyncio.wait({reading}, timeout=AGAIN))[0]:
                if (await asyncio.to_thread(self._reader.read)).fingerprint != corefile.fingerprint:
                    break
        finally:
            reading.cancel()
            await asyncio.wait({reading})  # it may have been read all the same: only its end says what is read now
        try:
            reading.result()
        except asyncio.CancelledError:
            return False
        except DnsError as error:
            log.error("the new Corefile is not taken over: %s", error)  # noqa: TRY400 - the text says it all
            return False
        self.settings = structs.replace(self.settings, reads=needs(corefile))
        return True

    def _lack(self, corefile: Corefile) -> str:
        """Return what a Corefile needs and is not read of the cluster, empty if nothing."""
        return unmet(corefile, self.settings.reads) if self.settings.reads is not None else ""

    async def _verdict(self, loaded: Loaded) -> str:
        """Return whether resolvers cannot take a Corefile over (`feed.Ask`): some things only they find, when they set plugins up."""
        answer = await self.ask("try", loaded.fingerprint) if loaded.corefile is not None else None  # resolvers tell why
        return answer.rows[0][0] if answer is not None and answer.rows else ""

    async def _serve_beside(self) -> None:
        """Serve health, readiness and metrics where the Corefile says; anew when it says otherwise."""
        running: dict[str, asyncio.Task[None]] = {}
        corefile: Corefile | None = None
        try:
            while True:
                if self.corefile is not corefile:
                    corefile = self.corefile
                    wanted = self._beside(corefile)
                    for where in running.keys() - wanted.keys():
                        running.pop(where).cancel()
                    for where in wanted.keys() - running.keys():
                        running[where] = asyncio.create_task(servers.serve(wanted[where]))
                await asyncio.sleep(0.5)
        finally:
            for task in running.values():
                task.cancel()

    def _beside(self, corefile: Corefile) -> dict[str, Server]:
        state = State(lambda: any(each.serving for each in self.supervisors), self._unready, lambda: self.leaving, self.samples)
        return {f"{one.address} {sorted(one.paths)}": one for one in wanted_servers(corefile, state)}

    def _unready(self) -> list[str]:
        if not self.serving:
            return ["resolver"]
        return ["kubernetes"] if self.cluster and not self.telling.complete else []
