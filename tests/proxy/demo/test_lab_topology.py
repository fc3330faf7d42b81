"""The laboratory's map: addresses are unique and lie where they say, and the commands build just that."""

import ipaddress
import re

import pytest
from pointsman.proxy.demo.lab_topology import POD_PREFIX, POD_RANGE, SERVICE_RANGE, UNDERLAY, PlaceKind, Topology
from pointsman.routing.route import Family

TOPOLOGIES = [Topology(), Topology(nodes=1, pods_per_node=1), Topology(nodes=5, pods_per_node=9)]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_places_are_nodes_their_pods_outside_and_elsewhere(topology):
    kinds = [place.kind for place in topology.places.values()]
    assert kinds.count(PlaceKind.NODE) == topology.nodes
    assert kinds.count(PlaceKind.POD) == topology.nodes * topology.pods_per_node
    assert [name for name, place in topology.places.items() if not place.node] == ["outside", "elsewhere"]
    assert all(place.node == node for node in topology.node_names for place in topology.pods_of(node))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_addresses_are_unique_and_of_their_family(topology, family):
    found = [place.addresses[family] for place in topology.places.values()]
    for node in topology.node_names:
        found += [topology.second(node, family), topology.gateway(node, family)]
        found += [topology.client(node, family, number) for number in (0, 1)]
    assert len(set(found)) == len(found)
    assert {ipaddress.ip_address(address).version for address in found} == {4 if family is Family.IPV4 else 6}


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_pods_lie_in_their_nodes_range_and_nothing_else_does(topology, family):
    everything = ipaddress.ip_network(POD_RANGE[family])
    for place in topology.places.values():
        address = ipaddress.ip_address(place.addresses[family])
        assert (address in everything) is (place.kind is PlaceKind.POD)
        assert address not in ipaddress.ip_network(SERVICE_RANGE[family])
        if place.kind is PlaceKind.POD:
            assert address in ipaddress.ip_network(topology.pod_range(place.node, family))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_local_addresses_begin_with_the_nodes_own(topology):
    for node in topology.node_names:
        for family in Family:
            assert topology.local_addresses(node, family)[0] == topology.places[node].addresses[family]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_batches_name_known_namespaces_and_links_that_the_kernel_accepts(topology):
    batches = dict(topology.batches("scope"))
    assert batches.keys() == {UNDERLAY, *topology.places}
    text = "\n".join(batches.values())
    assert {name.removeprefix("scope-") for name in re.findall(r"netns (\S+)", text)} == set(topology.places)
    links = re.findall(r"link add (\S+) type veth", text)
    assert len(links) == len(topology.places)
    assert all(len(link) <= 15 for link in links)


def test_every_pod_hangs_on_an_interface_with_the_prefix():
    topology = Topology()
    names = [topology.interface(pod.name) for pod in topology.pods_of("n2")]
    assert names == [f"{POD_PREFIX}{number}" for number in (1, 2, 3)]
