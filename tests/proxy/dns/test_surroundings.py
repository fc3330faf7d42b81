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
def test_nld_42_taking_back_empties_the_lists():
    with namespace():
        shell("iptables-nft -t raw -A PREROUTING -m recent --rcheck --name POINTSMAN-DNS --rdest -j ACCEPT")
        shell("echo +169.254.20.10 > /proc/thread-self/net/xt_recent/POINTSMAN-DNS")
        shell("grep -q 169.254.20.10 /proc/thread-self/net/xt_recent/POINTSMAN-DNS")
        surroundings.take_back(("169.254.20.10", "fd53::20:10"))
        assert "169.254" not in shell("cat /proc/thread-self/net/xt_recent/POINTSMAN-DNS")
