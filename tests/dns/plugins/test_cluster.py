"""kubernetes in its place in a chain."""

from fakes.chains import around, linked, query
from fakes.corefiles import NOWHERE
from pointsman.dns.corefile.options import Fallthrough, KubernetesOptions
from pointsman.dns.names import wire
from pointsman.dns.plugins.cluster import Cluster


def cluster(**options):
    return Cluster(KubernetesOptions(place=NOWHERE, zones=("cluster.local.", "in-addr.arpa."), ttl=30, **options), around())


async def test_names_of_other_zones_are_handed_on():
    respond, behind = linked(cluster())
    await respond(query("example.org"))
    assert [one.key for one in behind.asked] == [wire("example.org")]


async def test_rec_110_before_the_cluster_is_known_unknown_names_fail():
    respond, behind = linked(cluster())
    assert (await respond(query("web.shop.svc.cluster.local"))).rcode == 2
    assert not behind.asked


def test_src_04_the_cluster_s_zone_has_a_short_cut():
    (plain,) = cluster().shortcuts("cluster.local.")
    assert (plain.zone, plain.ttl, plain.minimum, plain.block) == (wire("cluster.local"), 30, 30, "cluster.local.")


def test_with_fallthrough_there_is_none():
    assert not cluster(fallthrough=Fallthrough()).shortcuts(".")
