"""Finding and removing whole tables of nftables."""

import pytest
from fakes.scratch import namespace, shell
from pointsman.netlink import tables

pytestmark = pytest.mark.kernel

RULESET = """
table {family} kube-proxy {{
  map service-ips {{ type {address} . inet_proto . inet_service : verdict; }}
  chain services {{ accept
 }}
  chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
}}
add table {family} other
"""


@pytest.fixture(autouse=True)
def scratch():
    with namespace():
        yield


def load(family, address):
    shell("nft -f -", text=RULESET.format(family=family, address=address))


async def test_none_is_there():
    assert await tables.find("kube-proxy") == ()


async def test_nft_38_a_table_goes_with_everything_in_it_and_others_stay():
    load("ip", "ipv4_addr")
    load("ip6", "ipv6_addr")
    shell("nft add table inet kube-proxy")  # of another family: somebody else's
    assert await tables.find("kube-proxy") == ("ip", "ip6")
    await tables.remove("kube-proxy", ("ip", "ip6"))
    assert await tables.find("kube-proxy") == ()
    assert shell("nft list tables").splitlines() == ["table ip other", "table ip6 other", "table inet kube-proxy"]


async def test_what_is_gone_already_is_no_error():
    load("ip6", "ipv6_addr")
    await tables.remove("kube-proxy", ("ip", "ip6"))
    assert await tables.find("kube-proxy") == ()
