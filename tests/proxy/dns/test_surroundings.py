"""Addresses that a node is given for DNS: by routes, which are put back, and removed without memory."""

import asyncio

import pytest
from fakes.scratch import namespace, shell
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
