"""The last step of a search path, begun at the first (SRC-22)."""

import pytest
from fakes.chains import AAAA, MX, A, Clock, Next, Upstream, address, around, counted, query, until
from fakes.corefiles import corefile
from pointsman.dns.feed import Change, Synced
from pointsman.dns.names import wire
from pointsman.dns.reply import Reply
from pointsman.dns.site import Site
from pointsman.dns.speculation import AGAIN, FOREVER, METRIC, PER_SECOND, Speculation, meant_by

ZONE = wire("cluster.local")
NAMESPACES = {b"\x04shop", b"\x03pay"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("example.com.shop.svc", "example.com"),
        ("www.example.com.shop.svc", "www.example.com"),
        ("example.com.nowhere.svc", None),
        ("example.com.svc", None),
        ("example.com", None),
        ("com.shop.svc", None),
        ("web.pay.shop.svc", None),  # pay is a namespace: the next step of the walk finds it
        ("web.pay.svc.shop.svc", None),
        ("web.pay.svc.cluster.local.shop.svc", None),
        ("1.2.3.4.shop.svc", None),
    ],
)
def test_what_a_denied_name_means(name, meant):
    assert meant_by(wire(f"{name}.cluster.local"), ZONE, NAMESPACES) == (None if meant is None else wire(meant))


def speculation(clock):
    surroundings = around(clock=clock)
    surroundings.catalog.apply(Change(begin=True, namespaces=("shop",)))
    surroundings.catalog.finish(Synced())
    behind = Next(Reply())
    return Speculation(behind, surroundings), behind, surroundings


async def test_a_walk_is_begun_once_in_a_while_and_counted_when_it_was_of_use():
    clock = Clock()
    ahead, behind, surroundings = speculation(clock)
    key = wire("example.com.shop.svc.cluster.local")
    for _ in range(3):
        assert ahead.denied(key, ZONE, A) == clock.now + AGAIN
    await until(lambda: behind.asked)
    assert [(one.key, one.qtype) for one in behind.asked] == [(wire("example.com"), A)]
    ahead.asked(query("example.com", AAAA))
    assert counted(surroundings, METRIC, "useful") == 0
    ahead.asked(query("Example.com", A))
    ahead.asked(query("example.com", A))
    assert (counted(surroundings, METRIC, "begun"), counted(surroundings, METRIC, "useful")) == (1, 1)
    clock.now += AGAIN
    ahead.denied(key, ZONE, A)
    await until(lambda: len(behind.asked) == 2)


async def test_other_types_and_names_are_left_alone():
    ahead, behind, _ = speculation(Clock())
    assert ahead.denied(wire("example.com.shop.svc.cluster.local"), ZONE, MX) == FOREVER
    assert ahead.denied(wire("nothing.shop.svc.cluster.local"), ZONE, A) == FOREVER
    assert not behind.asked


async def test_walks_are_limited_per_second():
    clock = Clock(100.0)
    ahead, behind, surroundings = speculation(clock)
    for number in range(PER_SECOND + 50):
        ahead.denied(wire(f"n{number}.example.com.shop.svc.cluster.local"), ZONE, A)
    await until(lambda: len(behind.asked) == PER_SECOND)
    assert counted(surroundings, METRIC, "limited") == 50
    clock.now += 1
    ahead.denied(wire("later.example.com.shop.svc.cluster.local"), ZONE, A)
    await until(lambda: len(behind.asked) == PER_SECOND + 1)


CHAIN = ".:53 {{\n kubernetes cluster.local\n {more}\n}}"


@pytest.mark.parametrize(
    ("more", "there"),
    [
        ("cache\n forward . 192.0.2.1", True),
        ("forward . 192.0.2.1", False),
        ("cache", False),
        ("cache\n forward . 192.0.2.1\n log", False),
        ("cache\n forward . 192.0.2.1\n acl {\n block net 192.0.2.0/24\n}", False),
    ],
)
async def test_where_nobody_would_find_it_again_nothing_is_resolved_ahead(more, there):
    chain = Site(corefile(CHAIN.format(more=more)), around()).chain("", 53)
    assert (chain.speculate is not None) == there
    assert Site(corefile(CHAIN.format(more=more)), around(speculate=False)).chain("", 53).speculate is None


async def test_the_walk_ends_in_the_cache():
    async with Upstream(address()) as server:
        surroundings = around(clock=Clock())
        surroundings.catalog.apply(Change(begin=True, namespaces=("shop",)))
        surroundings.catalog.finish(Synced())
        site = Site(corefile(CHAIN.format(more=f"cache\n forward . 127.0.0.1:{server.port}")), surroundings)
        chain = site.chain("", 53)
        chain.speculate(wire("example.com.shop.svc.cluster.local"), ZONE, A)
        await until(lambda: counted(surroundings, "coredns_cache_entries") == 1)
        reply = await chain.answer(query("example.com"))
        assert (reply.plugin, bool(reply.answer), len(server.asked)) == ("cache", True, 1)
        assert counted(surroundings, METRIC, "useful") == 1
        site.stop()
