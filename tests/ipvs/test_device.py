import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs import device
from pointsman.ipvs.keys import AddressKey
from pointsman.routing.route import Family

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

KEYS = {
    Family.IPV4: [AddressKey(f"10.96.{n >> 8}.{n & 255}") for n in range(300)],
    Family.IPV6: [AddressKey(f"fd00:96::{n:x}") for n in range(1, 301)],
}


@pytest.fixture
def scratch():
    with namespace():
        yield


@pytest.mark.parametrize("family", Family)
async def test_ipvs_10_addresses_are_bound_and_unbound_and_repeating_is_no_error(scratch, family):
    keys = KEYS[family]
    assert await device.observe(family) == ()
    assert await device.unbind(keys) == {}
    for _ in range(2):
        assert await device.bind(keys) == {}
        assert set(await device.observe(family)) == set(keys)
    for _ in range(2):
        assert await device.unbind(keys[:200]) == {}
        assert set(await device.observe(family)) == set(keys[200:])
    await device.remove()
    await device.remove()
    assert not await device.exists()


async def test_bound_addresses_are_local_and_nobodys_first_choice(scratch):
    await device.bind([KEYS[Family.IPV4][1], KEYS[Family.IPV6][1]])
    assert "state DOWN" in shell("ip link show kube-ipvs0")
    assert "local 10.96.0.1" in shell("ip route show table local")
    assert "local fd00:96::2" in shell("ip -6 route show table local")
    assert "deprecated" in shell("ip -6 addr show dev kube-ipvs0")


async def test_a_link_of_our_name_that_is_no_dummy_is_not_touched(scratch):
    shell("ip link add kube-ipvs0 type bridge")
    with pytest.raises(KernelError, match="is a link of kind bridge, not ours") as caught:
        await device.bind(KEYS[Family.IPV4])
    assert caught.value.kind is ErrorKind.EXISTS


async def test_addresses_of_the_node_are_those_of_all_other_links(scratch):
    shell("ip link set lo up; ip addr add 192.0.2.7/32 dev lo; ip addr add 2001:db8::7/128 dev lo")
    assert await device.local_addresses(Family.IPV4) == {"127.0.0.1", "192.0.2.7"}
    await device.bind([KEYS[Family.IPV4][1], KEYS[Family.IPV6][1]])
    assert await device.local_addresses(Family.IPV4) == {"127.0.0.1", "192.0.2.7"}
    assert await device.local_addresses(Family.IPV6) == {"::1", "2001:db8::7"}
