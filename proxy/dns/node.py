"""DNS on a node, beside the rules: which addresses are this node's for DNS, who leads queries there, and what happens when nobody answers.

    snapshot ─→ addresses: the node's own, and the cluster IPs of the DNS Service (NLD-41)
        ├─→ facts: the modes' rules take their queries aside while the kernel knows them alive (`iptables.local_dns`)
        ├─→ surroundings: each is local by a route of ours
        └─→ service: the resolver listens there, and keeps them alive in the kernel

When the resolver dies, the rules of the DNS Service take over: this process takes the addresses out of the kernel's lists at once, and if
it is gone too, the lists forget them within a second, in every mode (NLD-42). Names are told to the resolver when their rules are applied
(`telling`, `gate`).

The agent makes one, passes snapshots and changes of routing through it, and runs it beside its loops.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pointsman.dataplane.errors import KernelError
from pointsman.dns.corefile.load import Corefile
from pointsman.proxy.config import Config, family_of
from pointsman.proxy.dns import defaults, nodelocal, questions, saved, surroundings
from pointsman.proxy.dns.frontends import Frontends
from pointsman.proxy.dns.service import DnsError, DnsService, Settings
from pointsman.proxy.dns.setup import Setup, Step
from pointsman.proxy.dns.sockets import ListenError
from pointsman.proxy.dns.surroundings import REPAIR
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.dns.wishes import WishError, Wishes, wishes
from pointsman.proxy.source import Also, Reread
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import DNS_PORT
from pointsman.routing.route import Family
from pointsman.routing.snapshot import Dirty, ServiceKey, Snapshot

log = logging.getLogger(__name__)

UNUSABLE = (DnsError, WishError, OSError)
"""What `make` raises."""
START = 5.0
"""Seconds that the first list of objects is waited for before it is listened at the node's own addresses only."""
LINGER = 60.0
"""Seconds that a resolver serves on for a successor after its agent has ended."""


class Host(Protocol):
    """What is asked of the agent: what all families have applied."""

    def applied(self) -> int | None:
        """Return the revision that all families have applied."""
        ...

    async def advanced(self) -> None:
        """Wait until some family has applied something."""
        ...


class NodeDns:
    """DNS of this node; `host` is set before it runs."""

    def __init__(self, config: Config, node: str, wanted: Wishes, reads: dict[str, str] | None = None) -> None:
        self.wanted = wanted
        self.setup = Setup()
        self.telling = Telling(gated=True)
        self.telling.pods = wanted.pods
        self.addresses: tuple[str, ...] = config.dns_addresses
        self._config = config
        self._host: Host | None = None
        self._reread: Reread | None = None
        self._moved = asyncio.Event()
        self._frontends = Frontends(config.dns_service, by_family(config.dns_addresses))
        settings = Settings(
            corefile=corefile_of(config), addresses=self.addresses, workers=config.dns_workers, node=node,
            search_ahead=config.dns_search_ahead, client_rate=config.dns_client_rate,
            linger=0.0 if os.getpid() == 1 else LINGER, inherit=True, patient=True, heartbeat=surroundings.lists,
            reads=reads, read=self._read, setup=self.setup,
        )  # fmt: skip
        self.service = DnsService(settings, self.telling, self._changed)
        self._state = saved.Store(Path(state_of(config)))

    # --- what the agent passes through ------------------------------------------------------------------------------

    def join(self, host: Host, reread: Reread) -> None:
        """Say who programs the rules, and who has more read of the cluster."""
        self._host, self._reread = host, reread

    def advance(self, snapshot: Snapshot, dirty: Dirty) -> bool:
        """Take the next snapshot; return whether the node's addresses for DNS have changed."""
        self.telling.advance(snapshot, dirty)
        found = self._wanted(snapshot)
        if found == self.addresses or not snapshot.in_sync:
            return False
        self.addresses = found
        self._moved.set()
        return True

    def offered(self, change: RoutingChange) -> RoutingChange:
        """Return a change of routing as the modes are to see it."""
        return self._frontends.offered(change)

    @property
    def also(self) -> Also:
        """Return what is to be read for it."""
        return _also(self.wanted)

    @property
    def local(self) -> Mapping[Family, tuple[str, ...]]:
        """Return the addresses by family."""
        return by_family(self.addresses)

    async def _read(self, corefile: Corefile) -> None:
        """Have read what another Corefile wants. Raises DnsError if that cannot be."""
        try:
            wanted = _wanted_by(corefile)
        except WishError as error:
            raise DnsError(str(error)) from error
        if self._reread is not None:
            await self._reread(_also(wanted))
        self.wanted, self.telling.pods = wanted, wanted.pods

    # --- running ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do everything until cancelled; then the resolver is left to a successor, or ended where nobody could be one.

        Who asks where rules lead is answered by the cluster's DNS from that moment on; only for others lameduck means anything (OBS-30).
        """
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait({working})
            working.result()
        except asyncio.CancelledError:
            if self._strays and not self.service.settings.linger:
                await self.service.farewell()
            raise
        finally:
            working.cancel()
            await asyncio.wait({working})
            await self._end()

    @property
    def _strays(self) -> bool:
        """Return whether it is listened where no rule can lead queries elsewhere."""
        return any(place.port != DNS_PORT or place.address not in self.addresses for place in self.service.listens)

    async def _work(self) -> None:
        if (state := await asyncio.to_thread(self._state.load)) is not None and not self.telling.complete:
            self.telling.assume(state)
            self.addresses = self._wanted(state)
        await self._known()
        await self._prepared()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve())
            group.create_task(questions.serve(questions.default_path(self._config.socket), self.service))
            group.create_task(self._follow())
            group.create_task(surroundings.keep(self._arrange, self._moved))
            group.create_task(self._watch())
            group.create_task(self._state.run(self.telling))
            if self._config.takeover:
                group.create_task(nodelocal.take_over())

    async def _prepared(self) -> None:
        """Open the sockets; what keeps them from being opened is told, and tried again."""
        told = ""
        while True:
            try:
                await self.service.prepare()
                await self.service.listen_at(self.addresses)
            except (DnsError, ListenError) as error:
                if str(error) != told:
                    told = str(error)
                    log.error("DNS is not served; it is tried again: %s", told)  # noqa: TRY400 - the text says it all
                await asyncio.sleep(REPAIR)
            else:
                return

    async def _end(self) -> None:
        if self.service.settings.linger:
            await self.service.close(linger=True)
            return
        surroundings.take_back(self.addresses)
        await self.service.close()

    async def _follow(self) -> None:
        """Tell the resolver what the modes have applied."""
        assert self._host is not None
        while True:
            self.telling.applied(self._host.applied())
            await self._host.advanced()

    async def _watch(self) -> None:
        """Have routes that somebody removes put back at once: until then packets that the rules take aside go astray."""
        told = ""
        while True:
            try:
                await surroundings.watch(self._moved.set)
            except KernelError as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("routes for DNS are looked at now and then only", extra={"error": told, "seconds": REPAIR})
                await asyncio.sleep(REPAIR)

    async def _arrange(self) -> None:
        """Make the addresses local, and listen there, as they come and go."""
        try:
            if changes := await surroundings.ensure(self.addresses):
                log.info("addresses for DNS", extra={"changes": ", ".join(changes)})
        except KernelError as error:
            self.setup.unlocal(error)
            log.warning("the addresses for DNS cannot be made this node's own", extra={"error": str(error), "retry_seconds": REPAIR})
        try:
            await self.service.listen_at(self.addresses)
        except ListenError as error:
            self.setup.failed(Step.ADDRESS)
            log.error("DNS does not listen as it should; it is tried again: %s", error)  # noqa: TRY400 - the text says it all

    def _changed(self) -> None:
        """Have the rules of the DNS Service take over where no resolver answers."""
        if not self.service.serving:
            surroundings.take_back(self.addresses)

    async def _serve(self) -> None:
        """Serve, as soon as there is something to tell: until then an earlier resolver, or the cluster, has better answers.

        Where there is no earlier one, and nothing comes, external names are answered all the same (REC-111).
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self.service.succeeds else self.wanted.patience):
                await self.telling.begun.wait()
        await self.service.run()

    async def _known(self) -> None:
        """Wait a moment for the cluster's DNS address to be known, so that all sockets are opened, or taken over, at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(START):
                await self.telling.seen.wait()

    def _wanted(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return where to listen."""
        return (*self._config.dns_addresses, *(self._vips(snapshot) if self._config.dns_take_vip else ()))

    def _vips(self, snapshot: Snapshot) -> Iterable[str]:
        namespace, _, name = self._config.dns_service.partition("/")
        found = snapshot.services.get(ServiceKey(namespace, name))
        if found is None:
            return ()
        texts = found.spec.cluster_ips or ((found.spec.cluster_ip,) if found.spec.cluster_ip else ())
        return tuple(text for text in texts if text and text != "None" and family_of(text) is not None)


def by_family(addresses: Iterable[str]) -> dict[Family, tuple[str, ...]]:
    """Return addresses by their family."""
    found: dict[Family, tuple[str, ...]] = {}
    for address in addresses:
        family = family_of(address)
        if family is not None:
            found[family] = (*found.get(family, ()), address)
    return found


def corefile_of(config: Config) -> str:
    """Return the path of the Corefile; where none is named one is written beside the agent's socket. Raises OSError."""
    if config.dns_corefile:
        return config.dns_corefile
    place = Path(config.socket).with_name("Corefile")
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    place.write_text(defaults.corefile(config.dns_domain, config.dns_addresses), encoding="utf-8")
    return str(place)


def state_of(config: Config) -> str:
    """Return the path where the last known names are kept."""
    return config.dns_state or str(Path(config.socket).with_name("dns.state"))


def make(config: Config, node: str) -> NodeDns:
    """Return DNS for this node as the configuration wants it. Raises DnsError, WishError, OSError with what is wrong."""
    from pointsman.dns.corefile.files import read  # noqa: PLC0415 - only where DNS is on
    from pointsman.dns.needs import needs  # noqa: PLC0415

    loaded = read(corefile_of(config))
    if loaded.corefile is None:
        raise DnsError("\n".join(map(str, loaded.findings)))
    return NodeDns(config, node, _wanted_by(loaded.corefile), needs(loaded.corefile))


def _also(wanted: Wishes) -> Also:
    return Also(unfiltered=wanted.cluster, own_pods=wanted.own_pods, all_pods=wanted.all_pods, imports=wanted.imports)


def _wanted_by(corefile: Corefile) -> Wishes:
    """Return what a Corefile wants to be read. Raises WishError if this node's watch cannot do that."""
    wanted = wishes(corefile)
    if wanted.restricted:
        text = "kubernetes: labels and namespace_labels cannot be served by this node's one watch, which the rules need whole"
        raise WishError(f"{text}; leave them out, or run `pointsman dns serve` beside the agent")
    return wanted

