"""Addresses that a node is given for DNS: by routes, which are put back, and removed without memory."""

import asyncio
import socket

import pytest
from fakes.scratch import namespace, shell
from pointsman.netlink import codec, route
from pointsman.netlink.channel import Channel
from pointsman.proxy.dns import surroundings


def test_addresses_belong_into_the_list_of_their_family():
    found = surroundings.lists(("169.254.20.10", "fd53::20:10", "10.96.0.10"))
    assert found == {
        "/proc/net/xt_recent/POINTSMAN-DNS": ("169.254.20.10", "10.96.0.10"),
        "/proc/net/xt_recent/POINTSMAN-DNS-6": ("fd53::20:10",),
    }


@pytest.mark.kernel
async def test_nld_43_routes_are_added_once_put_back_and_removed():
    with namespace():
        shell("ip link set lo up; ip route add local 192.0.2.77/32 dev lo")
        wanted = ("169.254.20.10", "fd53::20:10")
        assert len(await surroundings.ensure(wanted)) == 2
        assert await surroundings.ensure(wanted) == ()
        assert sorted(await surroundings.present()) == sorted(wanted)
        shell("ip route del local 169.254.20.10/32 dev lo table local")
        assert await surroundings.ensure(wanted) == ("local route of 169.254.20.10 added",)
        assert await surroundings.ensure(("169.254.20.10",)) == ("local route of fd53::20:10 removed",)
        assert await surroundings.remove(dry_run=True) == ("local route of 169.254.20.10",)
        assert await surroundings.remove() == ("local route of 169.254.20.10",)
        assert await surroundings.present() == ()
        assert "192.0.2.77" in shell("ip route show table local")
        await asyncio.sleep(0)


@pytest.mark.kernel
async def test_nld_43_only_our_routes_are_read():
    """A node may have a million others, and a look comes whenever events of them were lost."""
    with namespace():
        with Channel(socket.NETLINK_ROUTE, filtered=True) as channel:
            assert await surroundings.present() == ()  # no address, no table
            shell("ip link set lo up; for n in $(seq 8); do ip route add 198.51.100.$n dev lo; ip -6 route add fd99::$n dev lo; done")
            await surroundings.ensure(("169.254.20.10", "fd53::20:10"))
            for family in (socket.AF_INET, socket.AF_INET6):
                assert len(await channel.request(route.GET_ROUTE, route.every_local_route(family), "routes", flags=codec.DUMP)) == 1
        with Channel(socket.NETLINK_ROUTE) as channel:  # as of a kernel that does not filter
            answers = await channel.request(route.GET_ROUTE, route.every_local_route(socket.AF_INET), "routes", flags=codec.DUMP)
            assert len(answers) > 8
            assert list(route.local_routes(answers)) == ["169.254.20.10"]


async def test_nld_43_who_removes_routes_again_and_again_does_not_make_this_node_busy(monkeypatch):
    moved, paused, arranged = asyncio.Event(), [], []
    fights = [True] * 6 + [False, True, False]

    async def arrange():
        arranged.append(len(paused))

    async def sleep(seconds):
        paused.append(seconds)
        if not fights:
            raise asyncio.CancelledError
        if fights.pop(0):
            moved.set()
        else:
            asyncio.get_running_loop().call_soon(moved.set)  # later than the pause: that is another matter

    monkeypatch.setattr(surroundings.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await surroundings.keep(arrange, moved)
    assert paused == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 0.1, 0.2, 0.1]
    assert arranged == list(range(10)), "a pause after each look, none before the first"


@pytest.mark.kernel
async def test_nld_43_the_kernel_tells_when_a_route_of_ours_is_removed():
    """Of both families; what happens to others' routes is nothing to us."""
    with namespace():
        shell("ip link set lo up")
        seen: asyncio.Queue[None] = asyncio.Queue()
        watching = asyncio.create_task(surroundings.watch(lambda: seen.put_nowait(None)))
        async with asyncio.timeout(60):
            await seen.get()
            for address, removal in (("169.254.20.10", "ip route"), ("fd53::20:10", "ip -6 route")):
                await surroundings.ensure((address,))
                shell("ip route add local 192.0.2.77/32 dev lo; ip route del local 192.0.2.77/32 dev lo")
                assert seen.empty()
                shell(f"{removal} del local {address} dev lo table local")
                await seen.get()
                assert await surroundings.ensure((address,)) == (f"local route of {address} added",)
                assert await surroundings.ensure(()) == (f"local route of {address} removed",)
                await seen.get()
        watching.cancel()
        await asyncio.wait({watching})


@pytest.mark.kernel
def test_nld_42_taking_back_empties_the_lists():
    with namespace():
        shell("iptables-nft -t raw -A PREROUTING -m recent --rcheck --name POINTSMAN-DNS --rdest -j ACCEPT")
        shell("echo +169.254.20.10 > /proc/thread-self/net/xt_recent/POINTSMAN-DNS")
        shell("grep -q 169.254.20.10 /proc/thread-self/net/xt_recent/POINTSMAN-DNS")
        surroundings.take_back(("169.254.20.10", "fd53::20:10"))
        assert "169.254" not in shell("cat /proc/thread-self/net/xt_recent/POINTSMAN-DNS")
