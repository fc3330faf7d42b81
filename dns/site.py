"""A Corefile at work: its plugins, and for every listener the chain of those server blocks that answer there.

The plugins of a block are made once, in the order of COR-15; each listener links them into a responder of its own. A query goes to the
block with the longest matching zone (COR-13); DS goes to the parent's block (WIR-13); a class other than IN needs forward or chaos on the
listener (WIR-08). What no plugin answers ends as SERVFAIL, or as REFUSED where the block has no plugin at all (WIR-12, REC-101).

At a reload, a new site takes over from the former one what stayed the same: plugins with equal settings go on as they are, with their
connections, files and background work; a cache whose settings changed keeps its replies (OBS-53).
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from pointsman.dns import names
from pointsman.dns.contract import Denied, Plain, Responder
from pointsman.dns.corefile import options
from pointsman.dns.corefile.findings import Place
from pointsman.dns.corefile.load import Corefile, ServerBlock
from pointsman.dns.plugins.acl import Acl
from pointsman.dns.plugins.cache import Cache
from pointsman.dns.plugins.cluster import Cluster
from pointsman.dns.plugins.forward import Forward
from pointsman.dns.plugins.link import Plugin, Surroundings, Where, no_next, refused
from pointsman.dns.plugins.loop import Loop
from pointsman.dns.plugins.make import TOGETHER, make
from pointsman.dns.plugins.reporting import Log
from pointsman.dns.question import IN, REFUSED, Query
from pointsman.dns.reply import Reply, failure
from pointsman.dns.speculation import Speculation

DS = 43


class Built(Struct, frozen=True):
    """A server block with its plugins, each beside the settings that it was made of."""

    block: ServerBlock
    plugins: tuple[tuple[tuple[options.Options, ...], Plugin], ...]

    @property
    def acting(self) -> tuple[str, ...]:
        """Return the names of the plugins that queries pass, in their order."""
        counting = [one.directive for one in self.block.options if isinstance(one, options.PrometheusOptions)]
        return (*counting, *(group[0].directive for group, _ in self.plugins))

    @property
    def end(self) -> Responder:
        """Return who answers what no plugin did."""
        return no_next(self.acting[-1]) if self.acting else refused


class Site:
    """All chains of a Corefile."""

    def __init__(self, corefile: Corefile, around: Surroundings, former: "Site | None" = None) -> None:
        self.corefile = corefile
        self._around = around
        self._fresh: list[Plugin] = []
        left = [] if former is None else [one for built in former.built for one in built.plugins]
        self.built: tuple[Built, ...] = tuple(self._build(block, former, left) for block in corefile.blocks)

    def _build(self, block: ServerBlock, former: "Site | None", left: list[tuple[tuple[options.Options, ...], Plugin]]) -> Built:
        """Make a block's plugins, or take those of the former site that are set to the same."""
        plugins = []
        for group in grouped(block.options):
            same = next((one for one in left if alike(one[0], group)), None)
            if same is not None:
                left.remove(same)
                plugins.append((group, same[1]))
            elif (plugin := self._made(group)) is not None:
                if isinstance(plugin, Cache) and (cache := _cache_of(former, block)) is not None:
                    plugin.inherit(cache)
                plugins.append((group, plugin))
                self._fresh.append(plugin)
        made = [plugin for _, plugin in plugins]
        for plugin in made:
            if isinstance(plugin, Loop):
                plugin.watch([one for one in made if isinstance(one, Forward)])
        return Built(block, tuple(plugins))

    def _made(self, group: Sequence[options.Options]) -> Plugin | None:
        """Make a plugin. Raises ValueError with the place of its directive if that cannot be: a file that it names is not there, say."""
        try:
            return make(group, self._around)
        except (OSError, ValueError) as error:
            first = group[0]
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            about = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
            raise ValueError(f"{first.place.file}:{first.place.line}: {first.directive} cannot be set up: {reason}{about}") from error

    def chain(self, address: str, port: int, interfaces: Iterable[str] = ()) -> "Chain | None":
        """Return what answers on an address and port of the Corefile; None if no block does.

        `address` is empty for a listener on all addresses; `interfaces` are the names of those that have the address (bind may name them).
        """
        wanted = {address, *interfaces}
        blocks = [
            built
            for built in self.built
            if any(key.port == port for key in built.block.keys)
            and (not built.block.addresses or (address and wanted & set(built.block.addresses)))
        ]
        bound = any(built.block.addresses for built in blocks)
        label = f"dns://{f'[{address}]' if ':' in address else address}:{port}" if bound else f"dns://:{port}"
        return Chain(blocks, label, port, self._around) if blocks else None

    def everywhere(self, label: str) -> "Chain":
        """Return a chain of all blocks, whatever their ports and addresses: for a server that was told where to listen."""
        return Chain(self.built, label, None, self._around)

    def start(self) -> None:
        """Begin the background work of plugins that are new; a loop is running."""
        for plugin in self._fresh:
            plugin.start()
        self._fresh.clear()

    def stop(self, keeping: "Site | None" = None) -> None:
        """End the background work, except of plugins that a new site goes on with."""
        kept = [] if keeping is None else [plugin for built in keeping.built for _, plugin in built.plugins]
        for built in self.built:
            for _, plugin in built.plugins:
                if not any(plugin is one for one in kept):
                    plugin.stop()


def grouped(settings: Sequence[options.Options]) -> list[tuple[options.Options, ...]]:
    """Return settings by plugin: directives that make one plugin together stay together."""
    groups: list[list[options.Options]] = []
    for one in settings:
        if groups and type(groups[-1][0]) is type(one) and type(one) in TOGETHER:
            groups[-1].append(one)
        else:
            groups.append([one])
    return [tuple(group) for group in groups]


def alike(one: Sequence[options.Options], other: Sequence[options.Options]) -> bool:
    """Return whether settings say the same, wherever they stand."""
    nowhere = Place("", 0)

    def bare(settings: Sequence[options.Options]) -> list[options.Options]:
        return [msgspec.structs.replace(option, place=nowhere) for option in settings]

    return bare(one) == bare(other)


def _cache_of(former: Site | None, block: ServerBlock) -> Cache | None:
    """Return the cache of the former site's block with the same keys."""
    for built in former.built if former is not None else ():
        if built.block.keys == block.keys:
            return next((plugin for _, plugin in built.plugins if isinstance(plugin, Cache)), None)
    return None


def _worth(blocks: Sequence[Built]) -> bool:
    """Return whether names that are resolved ahead are found again in a cache, and nobody is told of questions that no client asked."""
    kinds = [{type(plugin) for _, plugin in built.plugins} for built in blocks]
    return any({Cache, Forward} <= found for found in kinds) and not any(found & {Log, Acl} for found in kinds)


class Chain:
    """What answers on one listener; `enabled` are its plugins, each with the zone of its block (OBS-09)."""

    def __init__(self, blocks: Sequence[Built], label: str, port: int | None, around: Surroundings) -> None:
        self.label = label
        where = Where(label, self._answer)
        self._responders: dict[bytes, tuple[str, Responder]] = {}
        self.plain: tuple[Plain, ...] = ()
        self._classes = False
        self.enabled: tuple[tuple[str, str], ...] = ()
        for built in blocks:
            respond = built.end
            for _, plugin in reversed(built.plugins):
                respond = plugin.link(respond, where)
            self._classes |= any(isinstance(one, options.ForwardOptions | options.ChaosOptions) for one in built.block.options)
            for key in built.block.keys:
                if port is None or key.port == port:
                    self.enabled += tuple((key.zone, name) for name in built.acting)
                    self._responders.setdefault(names.wire(key.zone).lower(), (key.zone, respond))
        self.plain = tuple(plain for built in blocks for plain in self._shortcuts(built))

        self._speculation = Speculation(self._answer, around) if around.speculate and self.plain and _worth(blocks) else None

    @property
    def speculate(self) -> Denied | None:
        """Return who resolves ahead what a denied name of a search path means."""
        return None if self._speculation is None else self._speculation.denied

    async def answer(self, query: Query) -> Reply | None:
        """Answer a query."""
        if self._speculation is not None:
            self._speculation.asked(query)
        return await self._answer(query)

    async def _answer(self, query: Query) -> Reply | None:
        if query.qclass != IN and not self._classes:
            return failure(REFUSED)
        found = self._block(query)
        if found is None:
            return failure(REFUSED)
        zone, respond = found
        reply = await respond(query)
        return reply and reply.but(zone=zone)

    def _block(self, query: Query) -> tuple[str, Responder] | None:
        """Return the block of the longest zone that has the name; for DS the one above its own, unless that is the root's."""
        first: tuple[str, Responder] | None = None
        for zone in names.suffixes(query.key):
            found = self._responders.get(zone)
            if found is None:
                continue
            if query.qtype != DS:
                return found
            if first is None and zone == query.key:
                first = found
                continue
            return first if first is not None and zone == names.ROOT else found
        return first

    def _shortcuts(self, built: Built) -> Iterable[Plain]:
        """Yield the short cuts of a block's kubernetes, as the plugins in front of it bear them."""
        for at, (_, plugin) in enumerate(built.plugins):
            if not isinstance(plugin, Cluster):
                continue
            for plain in plugin.shortcuts(""):
                zone, _ = self._responders.get(self._block_of(plain.zone), ("", None))
                borne: Plain | None = msgspec.structs.replace(plain, block=zone)
                for _, front in reversed(built.plugins[:at]):
                    borne = None if borne is None else front.plain(borne)
                if borne is not None and not self._divided(plain.zone, built):
                    yield borne

    def _block_of(self, zone: bytes) -> bytes:
        return next((one for one in names.suffixes(zone) if one in self._responders), b"")

    def _divided(self, zone: bytes, built: Built) -> bool:
        """Return whether another block has the zone, or names below it."""
        own = {names.wire(key.zone).lower() for key in built.block.keys}
        others = [one for one in self._responders if one not in own]
        return any(names.cut(one, zone) >= 0 for one in others) or self._block_of(zone) not in own
