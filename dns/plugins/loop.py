"""loop: find an upstream that leads back here, and leave it out (LOP-01, LOP-02).

CoreDNS asks itself a random name and dies when it comes again. Here every upstream of the block is asked a random name of its own, as
HINFO, at the start and each half minute: if that very name arrives here, this upstream leads back here. It is left out from then on and
comes back by itself when the loop is gone. External names end as SERVFAIL where no upstream is left; cluster names are answered all the
time.
"""

import asyncio
import secrets

from msgspec import Struct
from pointsman.dns import names
from pointsman.dns.contract import Responder
from pointsman.dns.plugins.forward import Forward
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import RD, Query
from pointsman.dns.reply import Reply
from pointsman.dns.upstream import Upstream

HINFO = 13
FIRST = 1.0
"""Seconds after the start, when sockets are certainly read."""
AGAIN = 30.0
"""Seconds between two rounds."""
PATIENCE = 2.0
"""Seconds that an upstream may take to answer the question; if it leads back here, the question comes long before."""
METRIC = "pointsman_dns_forward_loop"


class Probe(Struct):
    """A name that was sent to an upstream, and whether it came back."""

    upstream: Upstream
    seen: int = 0


class Loop(Quiet):
    """The loop directive of a server block."""

    def __init__(self, around: Surroundings, zone: str) -> None:
        self._around = around
        self._zone = names.wire(zone)
        self._probes: dict[bytes, Probe] = {}
        self._forwards: list[Forward] = []
        self._watch: asyncio.Task[None] | None = None

    def watch(self, forwards: list[Forward]) -> None:
        """Take the forward lines of the block, whose upstreams are asked."""
        self._forwards = forwards

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            if query.qtype == HINFO and (probe := self._probes.get(query.key)) is not None:
                probe.seen += 1
                return Reply(flags=0, plugin="loop")
            return await following(query)

        return respond

    def start(self) -> None:
        """Begin to ask."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._rounds())

    def stop(self) -> None:
        """End asking."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _rounds(self) -> None:
        await asyncio.sleep(FIRST)
        while True:
            await self.check()
            await asyncio.sleep(AGAIN)

    async def check(self) -> None:
        """Ask every upstream once; those that lead back here are left out, those that do no longer come back."""
        for forward in self._forwards:
            for upstream in forward.upstreams:
                await self._ask(upstream)

    async def _ask(self, upstream: Upstream) -> None:
        name = names.join((str(secrets.randbits(62)).encode(), str(secrets.randbits(62)).encode()), self._zone)
        probe = self._probes[name] = Probe(upstream)
        answered = True
        try:
            await upstream.ask(Query(0, RD, name, name, HINFO), PATIENCE)
        except (OSError, TimeoutError):
            answered = False
        finally:
            del self._probes[name]
        if probe.seen:
            self._found(upstream)
        elif upstream.looping and answered:
            upstream.looping = False
            self._around.tell("info", f"plugin/loop: {upstream.label} no longer leads back to this server: it is asked again")
        self._around.tally.cell(METRIC, names.text(self._zone), upstream.label)[0] = 1 if upstream.looping else 0

    def _found(self, upstream: Upstream) -> None:
        if not upstream.looping:
            zone = names.text(self._zone)
            self._around.tell(
                "error",
                f'plugin/loop: Loop ({upstream.label}) detected for zone "{zone}": this upstream leads back here and is left out; '
                "name an upstream outside the cluster, or give kubelet a resolv.conf without 127.0.0.53 (--resolv-conf)",
            )
        upstream.looping = True
