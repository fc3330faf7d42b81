"""A chain for the server's tests: a kubernetes plugin over a small cluster, and names that behave as their first label says."""

import asyncio

from fakes.dns_cluster import catalog_of, plugin
from pointsman.dns.books import Books, Top
from pointsman.dns.hot import Hot, Room
from pointsman.dns.names import labels, wire
from pointsman.dns.reply import Life, Record, Reply
from pointsman.dns.server import Desk
from pointsman.dns.tally import Tally


class FakeChain:
    """Answers cluster names by the plugin; `slow` names after a while, `broken` never, `mute` not at all, `many` by several addresses."""

    label = "dns://:53"

    def __init__(self, catalog, *, plain=True, life=None):
        self._plugin = plugin(catalog)
        self.plain = self._plugin.plain(".") if plain else ()
        self.speculate = None
        self.life = life
        self.asked = 0
        self.gate = None

    async def answer(self, query):
        self.asked += 1
        first = labels(query.key)[0] if len(query.key) > 1 else b""
        match first:
            case b"slow":
                await (self.gate.wait() if self.gate else asyncio.sleep(0.01))
                return self._fixed(query, 1)
            case b"broken":
                raise ValueError("planted")
            case b"later-broken":
                await asyncio.sleep(0)
                raise ValueError("planted")
            case b"mute":
                return None
            case b"many":
                return self._fixed(query, 4).but(rotate=True)
            case b"big":
                return self._fixed(query, 200)
        if query.key.endswith(wire("local")) or query.key.endswith(wire("arpa")):
            reply = await self._plugin.answer(query)
            return reply.but(zone=".")
        return self._fixed(query, 1)

    def _fixed(self, query, number):
        answer = tuple(Record(query.name, 1, 30, bytes((192, 0, 2, n))) for n in range(1, number + 1))
        return Reply(answer=answer, plugin="fixed", zone=".", life=self.life)


FOR_EVER = Life(("all",))


def desk_of(*objects, room=1 << 20, shuffle=lambda records: None, life=FOR_EVER, **options):
    """Return a desk with its chain, its catalog and its tally."""
    catalog, tally, top = catalog_of(*objects), Tally(), Top()
    chain = FakeChain(catalog, life=life, **options)
    desk = Desk(chain, catalog, Books(tally, chain.label, "udp", "1"), Hot(shuffle, Room(room), top), top)
    return desk, chain, catalog, tally
