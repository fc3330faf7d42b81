"""The cache: what is kept, for how long, and how it is given again (CAC-01 to CAC-81)."""

import asyncio

import pytest
from fakes.chains import CNAME, A, Clock, Next, around, counted, edns, linked, query, record, soa, until, values
from fakes.corefiles import options
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import CacheOptions
from pointsman.dns.names import wire
from pointsman.dns.plugins.cache import Cache
from pointsman.dns.plugins.store import pack
from pointsman.dns.question import AA, AD, CD, RA, RD, TC
from pointsman.dns.reply import Life, Reply, failure

IP = b"\xc0\0\2\1"


def positive(ttl=300, name="a.example", **more):
    return Reply(answer=(record(name, A, ttl, IP),), flags=RA, plugin="forward", **more)


def denial(ttl=300, minimum=3600, rcode=3):
    return Reply(rcode=rcode, authority=(soa("example", ttl, minimum),), flags=RA, plugin="forward")


class Kept:
    """A cache between a client and what follows, with a clock."""

    def __init__(self, reply, *lines):
        self.clock = Clock()
        self.around = around(clock=self.clock)
        self.plugin = Cache(options(CacheOptions, *(lines or ("cache",))), self.around, wall=lambda: 1_800_000_000.0)
        self.respond, self.behind = linked(self.plugin, reply)

    async def ask(self, name="a.example", qtype=A, **more):
        return await self.respond(query(name, qtype, **more))

    async def twice(self, **more):
        await self.ask(**more)
        await self.ask(**more)
        return len(self.behind.asked) == 1


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (positive(), True),
        (Reply(answer=(record("a.example", CNAME, 9, "b.example"), record("b.example", A, 9, IP)), flags=RA), True),
        (Reply(authority=(record("example", 2, 9, "ns.example"),), flags=0), True),
        (Reply(flags=RA), True),
        (denial(), True),
        (denial(rcode=0), True),
        (Reply(answer=(record("a.example", CNAME, 9, "b.example"),), authority=(soa("example"),)), True),
        (Reply(rcode=2, flags=0), True),
        (failure(2, "forward", "no healthy proxies"), False),
        (Reply(rcode=4, flags=0), True),
        (positive().but(flags=TC), False),
        (Reply(rcode=5, flags=0), False),
        (Reply(rcode=1, flags=0), False),
        (Reply(rcode=3, flags=0), False),
        (Reply(rcode=3, answer=(record("a.example", CNAME, 9, "b.example"),), authority=(soa("example"),)), False),
        (Reply(answer=(record("a.example", CNAME, 9, "b.example"),)), False),
    ],
)
async def test_cac_30_to_33_what_is_kept(reply, kept):
    assert await Kept(reply).twice() == kept


async def test_cac_31_a_failure_of_one_s_own_hides_no_upstream_that_is_back():
    """Only what an upstream answered is kept: a moment's refusal must not last as long as `servfail` says."""
    cache = Kept(failure(2, "forward", "connection refused"), "cache {", "servfail 5m", "}")
    assert await cache.ask() == failure(2, "forward", "connection refused")
    cache.behind.reply = positive()
    assert (await cache.ask()).rcode == 0


@pytest.mark.parametrize(
    ("reply", "ttl"),
    [
        (Reply(rcode=3, answer=(record("a.example", CNAME, 300, "b.example"),), authority=(soa("example", 300),)), 20),
        (Reply(rcode=5, authority=(record("example", 2, 300, "ns.example"),)), 20),
        (Reply(authority=(record("example", 2, 300, "ns.example"),)), 20),
        (Reply(additional=(record("a.example", A, 40, IP),)), 40),
        (Reply(rcode=3, authority=(record("example", 2, 300, "ns.example"),)), 60),
    ],
)
async def test_cac_40_the_ttl_of_what_is_neither_answer_nor_denial(reply, ttl):
    """Five seconds, within the bounds of success; a denial without SOA has those of denials."""
    given = await Kept(reply, "cache {", "success 9984 3600 20", "denial 9984 60 30", "}").ask()
    assert {one.ttl for one in (*given.answer, *given.authority, *given.additional)} == {ttl}


async def test_wir_30_options_of_upstreams_are_not_kept_and_rd_is_the_client_s():
    cache = Kept(positive().but(options=b"\0\x0f\0\2\0\6", flags=RA | RD))
    assert (await cache.ask()).options is None
    hit = await cache.ask(flags=0)
    assert (hit.options, hit.flags & RD) == (None, 0)


async def test_cac_80_what_comes_from_memory_is_not_kept_and_keeps_its_life():
    live = positive(ttl=30, life=Life(("svc",))).but(plugin="kubernetes")
    cache = Kept(live, "cache 10")
    assert not await cache.twice()
    reply = await cache.ask()
    assert reply.life == Life(("svc",))
    assert reply.answer[0].ttl == 10


@pytest.mark.parametrize(
    ("reply", "lines", "ttl"),
    [
        (positive(300), ("cache",), 300),
        (positive(86400), ("cache",), 3600),
        (positive(86400), ("cache 30",), 30),
        (positive(1), ("cache",), 5),
        (positive(1), ("cache {", "success 100 60 0", "}"), 1),
        (denial(3600), ("cache",), 1800),
        (denial(300, minimum=20), ("cache",), 20),
        (denial(300, minimum=1), ("cache",), 5),
        (Reply(answer=(record("a.example", A, 90, IP),), authority=(record("example", 2, 40, "n"),)), ("cache",), 40),
    ],
)
async def test_cac_40_41_81_lifetimes_and_level_ttls(reply, lines, ttl):
    """Also the first reply has the level TTL; a denial lives no longer than its SOA's minimum."""
    made = await Kept(reply, *lines).ask()
    assert {one.ttl for one in (*made.answer, *made.authority)} == {ttl}


async def test_cac_43_hits_count_down_and_end():
    cache = Kept(positive(60))
    await cache.ask()
    cache.clock.now += 59.9
    reply = await cache.ask()
    assert (reply.answer[0].ttl, reply.plugin, len(cache.behind.asked)) == (1, "cache", 1)
    cache.clock.now += 0.1
    assert (await cache.ask()).answer[0].ttl == 60
    assert len(cache.behind.asked) == 2


async def test_the_hot_table_may_answer_until_the_end():
    cache = Kept(positive(60))
    cache.clock.now = 1000.5
    await cache.ask()
    cache.clock.now = 1010.7
    reply = await cache.ask()
    assert (reply.answer[0].ttl, reply.life.counting, reply.life.until) == (50, True, 1060.5)
    assert reply.life.born == 1010.5
    before = counted(cache.around, "coredns_cache_hits_total")
    for cell in reply.life.counted:
        cell[0] += 1
    assert counted(cache.around, "coredns_cache_hits_total") == before + 1


async def test_cac_18_keepttl():
    cache = Kept(positive(60), "cache {", "keepttl", "}")
    await cache.ask()
    cache.clock.now += 30
    reply = await cache.ask()
    assert (reply.answer[0].ttl, reply.life.counting) == (60, False)


async def test_cac_20_do_and_cd_have_entries_of_their_own():
    cache = Kept(positive())
    for more in ({}, {"edns": edns(do=True)}, {"flags": RD | CD}, {"edns": edns()}):
        await cache.ask(**more)
    assert len(cache.behind.asked) == 3


async def test_wir_24_the_name_comes_back_as_each_client_spells_it():
    cache = Kept(positive())
    await cache.ask("A.example")
    assert values(await cache.ask("a.EXAMPLE"))[0][0] == "a.EXAMPLE."
    assert len(cache.behind.asked) == 1


async def test_cac_22_a_live_denial_hides_a_live_answer_but_a_failure_does_not():
    cache = Kept(positive(60))
    await cache.ask()
    key = wire("a.example") + b"\0\0\1\0\1"
    assert cache.plugin.stores["success"].get(key) is not None
    cache.plugin.stores["denial"].put(key, pack(query("a.example"), denial(), cache.clock.now, 60))
    assert (await cache.ask()).rcode == 3
    cache.plugin.stores["denial"].put(key, pack(query("a.example"), Reply(rcode=2), cache.clock.now, 60))
    assert (await cache.ask()).rcode == 0


async def test_cac_16_failures_are_kept_for_five_seconds_or_not_at_all():
    cache = Kept(Reply(rcode=2, flags=0))
    await cache.ask()
    cache.clock.now += 4.9
    await cache.ask()
    assert len(cache.behind.asked) == 1
    cache.clock.now += 0.1
    await cache.ask()
    assert len(cache.behind.asked) == 2
    assert not await Kept(Reply(rcode=2, flags=0), "cache {", "servfail 0", "}").twice()


async def test_cac_17_44_disabled_zones_are_not_kept_but_levelled():
    cache = Kept(positive(9999), "cache {", "disable success example", "}")
    assert not await cache.twice()
    assert (await cache.ask()).answer[0].ttl == 3600
    assert await Kept(denial(), "cache {", "disable success example", "}").twice()
    assert not await Kept(denial(), "cache {", "disable denial", "}").twice()


async def test_names_of_other_zones_pass_by():
    cache = Kept(positive(9999), "cache other.example")
    assert (await cache.ask()).answer[0].ttl == 9999
    assert counted(cache.around, "coredns_cache_requests_total") == 0


async def test_cac_60_flags():
    cache = Kept(positive().but(flags=RA | AD))
    assert not (await cache.ask()).flags & AD
    hit = await cache.ask()
    assert hit.flags & (AA | RA | AD) == AA | RA
    assert (await cache.ask(flags=RD | AD)).flags & AD
    assert cache.behind.asked[0].flags & AD


async def test_cac_50_prefetch_refreshes_what_is_asked_often():
    cache = Kept(positive(100), "cache {", "prefetch 3 1m 20%", "}")
    await cache.ask()
    lives = []
    for _ in range(3):
        cache.clock.now += 10
        lives.append((await cache.ask()).life)
    assert lives[:2] == [None, None]
    assert lives[2].until == 1080.0  # then the client's hits come here again
    cache.clock.now = 1080.0
    assert (await cache.ask()).answer[0].ttl == 20
    await until(lambda: len(cache.behind.asked) == 2)
    assert (await cache.ask()).answer[0].ttl == 100
    assert counted(cache.around, "coredns_cache_prefetch_total") == 1


async def test_cac_50_hits_with_long_gaps_do_not_count():
    cache = Kept(positive(3000), "cache {", "prefetch 2 1m 90%", "}")
    for _ in range(6):
        await cache.ask()
        cache.clock.now += 61
    await asyncio.sleep(0)
    assert len(cache.behind.asked) == 1


async def test_cac_51_stale_at_once_and_refreshed_behind():
    cache = Kept(positive(10), "cache {", "serve_stale 1h", "}")
    await cache.ask()
    cache.clock.now += 100
    reply = await cache.ask()
    assert (reply.answer[0].ttl, reply.life) == (0, None)
    await until(lambda: len(cache.behind.asked) == 2)
    assert (await cache.ask()).answer[0].ttl == 10
    assert counted(cache.around, "coredns_cache_served_stale_total") == 1


async def test_cac_51_stale_has_the_ttl_and_the_age_that_are_set():
    cache = Kept(positive(10), "cache {", "serve_stale 1m immediate 30s", "}")
    await cache.ask()
    cache.behind.reply = Reply(rcode=2, flags=0)
    cache.clock.now += 60
    assert (await cache.ask()).answer[0].ttl == 30
    cache.clock.now += 20
    assert (await cache.ask()).rcode == 2


async def test_cac_52_a_failed_refresh_does_not_replace_and_recheck_waits():
    cache = Kept(positive(10), "cache {", "serve_stale 1h immediate 0s 1m", "}")
    await cache.ask()
    cache.behind.reply = Reply(rcode=2, flags=0)
    cache.clock.now += 20
    for _ in range(3):
        assert (await cache.ask()).rcode == 0
        await until(lambda: len(cache.behind.asked) == 2)
        await asyncio.sleep(0)
    cache.clock.now += 61
    await cache.ask()
    await until(lambda: len(cache.behind.asked) == 3)


async def test_cac_51_verify_asks_first():
    cache = Kept(positive(10), "cache {", "serve_stale 1h verify", "}")
    await cache.ask()
    cache.clock.now += 20
    assert (await cache.ask()).answer[0].ttl == 10
    cache.clock.now += 20
    cache.behind.reply = Reply(rcode=2, flags=0)
    assert (await cache.ask()).answer[0].ttl == 0


async def test_cac_51_verify_waits_only_so_long():
    gate = asyncio.Event()

    class Slow(Next):
        async def __call__(self, asked):
            if self.asked:
                await gate.wait()
            return await super().__call__(asked)

    cache = Kept(None, "cache {", "serve_stale 1h verify 10ms", "}")
    cache.respond, cache.behind = linked(cache.plugin, Slow(positive(10)))
    await cache.ask()
    cache.clock.now += 20
    assert (await cache.ask()).answer[0].ttl == 0
    gate.set()
    await until(lambda: len(cache.behind.asked) == 2)
    await asyncio.sleep(0)
    assert (await cache.ask()).answer[0].ttl == 10


async def test_an_upstream_that_fails_does_not_hide_what_was_good():
    cache = Kept(positive(10), "cache {", "serve_stale", "}")
    await cache.ask()
    cache.behind.reply = Reply(rcode=2, flags=0)
    for _ in range(5):
        cache.clock.now += 60
        assert (await cache.ask()).answer


@pytest.mark.parametrize("rcode", [2, 4])
async def test_cac_51_a_failure_is_never_served_stale(rcode):
    cache = Kept(Reply(rcode=rcode, flags=0), "cache {", "serve_stale 1h", "}")
    await cache.ask()
    cache.behind.reply = positive()
    cache.clock.now += 100
    assert (await cache.ask()).answer


async def test_obs_53_a_reload_forgets_nothing():
    cache = Kept(positive(60))
    await cache.ask()
    other = Cache(options(CacheOptions, "cache 20"), cache.around)
    other.inherit(cache.plugin)
    respond, behind = linked(other, positive())
    assert (await respond(query("a.example"))).answer
    assert not behind.asked


async def test_obs_10_11_12_numbers():
    cache = Kept(positive(60))
    await cache.ask()
    await cache.ask()
    numbers = {
        one.metric.removeprefix("coredns_cache_"): one.values[0]
        for one in cache.around.tally.dump()
        if "success" in one.labels or len(one.labels) == 3
    }
    assert {name: numbers[name] for name in ("requests_total", "hits_total", "misses_total", "entries")} == {
        "requests_total": 2, "hits_total": 1, "misses_total": 1, "entries": 1,
    }  # fmt: skip


def test_the_short_cut_has_the_cache_s_ttl():
    plain = Plain(wire("cluster.local"), 30, 30, ".")
    assert Kept(None, "cache 10").plugin.plain(plain).ttl == 10
    assert Kept(None, "cache {", "denial 100 60 40", "}").plugin.plain(plain).ttl == 40
    assert Kept(None, "cache other.example").plugin.plain(plain) is plain
