"""One route as virtual servers, real servers, addresses and set elements (IPVS-11 to IPVS-13, IPVS-20)."""

import pytest
from fakes import routes as make
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables.objects import SetKey
from pointsman.ipvs import names
from pointsman.ipvs.frontends import Options, by_hash, fragment
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, RealServer, ServerFlag, VirtualKey, VirtualServer
from pointsman.routing.node import NodePortAddresses
from pointsman.routing.route import Backend, Family, Protocol

V4 = Family.IPV4
NODE = make.node()
CLUSTER_IP = make.vip(V4, 96, 58)
LOCAL, REMOTE = make.backend(V4, 1, local=True), make.backend(V4, 2)


def servers(found):
    """Return each virtual server's key with the addresses behind it."""
    behind = {key: [] for key in found if isinstance(key, VirtualKey)}
    for key in found:
        if isinstance(key, RealKey):
            behind[key.virtual].append(key.address)
    return behind


def elements(found, name):
    return {key.element: value for key, value in found.items() if isinstance(key, SetKey) and key.name == name}


def tcp(address, port=80):
    return VirtualKey(V4, Protocol.TCP, address, port)


def test_ipvs_11_a_cluster_ip_is_bound_and_served():
    found = fragment(make.route(backends=[LOCAL, REMOTE]), NODE, Options())
    assert servers(found) == {tcp(CLUSTER_IP): [LOCAL.address, REMOTE.address]}
    assert found[tcp(CLUSTER_IP)] == VirtualServer("rr")
    assert AddressKey(CLUSTER_IP) in found
    assert elements(found, "KUBE-CLUSTER-IP") == {f"{CLUSTER_IP},tcp:80": ""}
    assert elements(found, "KUBE-IPVS-IPS") == {CLUSTER_IP: ""}


def test_ipvs_11_an_address_that_the_node_has_itself_is_not_bound():
    held = make.NODE_ADDRESS[V4]
    found = fragment(make.route(load_balancer_ips=(held,), backends=[LOCAL]), NODE, Options())
    assert tcp(held) in found
    assert AddressKey(held) not in found
    assert held not in elements(found, "KUBE-IPVS-IPS")


def test_ipvs_12_affinity_is_persistence():
    found = fragment(make.route(affinity_seconds=1800, backends=[LOCAL]), NODE, Options())
    assert found[tcp(CLUSTER_IP)] == VirtualServer("rr", ServerFlag.PERSISTENT, 1800)


def test_ipvs_04_mh_counts_the_port_too():
    found = fragment(make.route(backends=[LOCAL]), NODE, Options("mh"))
    assert found[tcp(CLUSTER_IP)] == VirtualServer("mh", ServerFlag.SCHEDULER_2)


def test_a_service_may_choose_its_scheduler_and_weights():
    weighty = Backend("10.244.0.9", 8080, False, False, weight=7)
    found = fragment(make.route(scheduler="wrr", backends=[LOCAL, weighty]), NODE, Options("lc"))
    assert found[tcp(CLUSTER_IP)].scheduler == "wrr"
    assert found[RealKey(tcp(CLUSTER_IP), "10.244.0.9", 8080)] == RealServer(7)
    assert found[RealKey(tcp(CLUSTER_IP), LOCAL.address, 8080)] == RealServer(1)


def test_a_service_may_choose_the_flags_of_its_scheduler():
    def flags(**changes):
        return fragment(make.route(backends=[LOCAL], **changes), NODE, Options())[tcp(CLUSTER_IP)].flags

    assert flags(scheduler="mh") == ServerFlag.SCHEDULER_2
    assert flags(scheduler="mh", scheduler_flags=("mh-fallback",)) == ServerFlag.SCHEDULER_1
    assert flags(scheduler="sh", scheduler_flags=("sh-fallback", "sh-port")) == ServerFlag.SCHEDULER_1 | ServerFlag.SCHEDULER_2


def test_sem_01_and_sem_02_without_endpoints_there_is_no_virtual_server():
    found = fragment(make.route(), NODE, Options())
    assert not servers(found)
    assert elements(found, "KUBE-NO-ENDPOINTS") == {f"{CLUSTER_IP},tcp:80": ""}
    assert AddressKey(CLUSTER_IP) in found
    found = fragment(make.route(internal_local=True, backends=[REMOTE]), NODE, Options())
    assert not servers(found)
    assert elements(found, "KUBE-NO-LOCAL-ENDPOINTS") == {f"{CLUSTER_IP},tcp:80": ""}


def test_sem_11_policy_cluster_is_masqueraded_by_set():
    route = make.route(external_ips=("198.51.100.1",), load_balancer_ips=("198.51.100.2",), node_port=30080, backends=[LOCAL])
    found = fragment(route, NODE, Options())
    assert elements(found, "KUBE-EXTERNAL-IP") == {"198.51.100.1,tcp:80": ""}
    assert elements(found, "KUBE-LOAD-BALANCER") == {"198.51.100.2,tcp:80": ""}
    assert elements(found, "KUBE-NODE-PORT") == {f"{make.NODE_ADDRESS[V4]},tcp:30080": ""}
    assert AddressKey(make.NODE_ADDRESS[V4]) not in found
    assert not elements(found, "KUBE-SHORT-CIRCUIT")


def test_sem_12_to_sem_15_policy_local_has_two_virtual_servers():
    route = make.route(external_ips=("198.51.100.1",), node_port=30080, external_local=True, backends=[LOCAL, REMOTE])
    found = fragment(route, NODE, Options())
    mark = names.mark(route)
    assert servers(found)[VirtualKey(V4, mark=mark)] == [LOCAL.address, REMOTE.address]
    assert servers(found)[tcp("198.51.100.1")] == [LOCAL.address]
    assert elements(found, "KUBE-SHORT-CIRCUIT") == {
        "198.51.100.1,tcp:80": f"skbmark {mark:#x}",
        f"{make.NODE_ADDRESS[V4]},tcp:30080": f"skbmark {mark:#x}",
    }
    assert not elements(found, "KUBE-EXTERNAL-IP")


def test_trap_01_without_local_endpoints_pods_and_this_node_are_served_all_the_same():
    route = make.route(external_ips=("198.51.100.1",), external_local=True, backends=[REMOTE])
    found = fragment(route, NODE, Options())
    assert tcp("198.51.100.1") not in found
    assert elements(found, "KUBE-NO-LOCAL-ENDPOINTS") == {"198.51.100.1,tcp:80": ""}
    assert servers(found)[VirtualKey(V4, mark=names.mark(route))] == [REMOTE.address]


def test_a_persistent_virtual_server_by_mark_keeps_clients_by_hash():
    plain = VirtualServer("rr")
    assert by_hash(plain) == plain
    assert by_hash(VirtualServer("rr", ServerFlag.PERSISTENT, 60)) == VirtualServer("mh", ServerFlag.SCHEDULER_1)


def test_sem_30_and_sem_32_source_ranges_are_by_address_and_port():
    ranges = ("203.0.113.0/24", "192.0.2.7/32")
    route = make.route(load_balancer_ips=("198.51.100.2",), source_ranges=ranges, vip_is_source=True, backends=[LOCAL])
    found = fragment(route, NODE, Options())
    where = "198.51.100.2,tcp:80"
    assert elements(found, "KUBE-LOAD-BALANCER-FW") == {where: ""}
    assert set(elements(found, "KUBE-LOAD-BALANCER-SOURCE-CIDR")) == {f"{where},203.0.113.0/24", f"{where},192.0.2.7"}
    assert set(elements(found, "KUBE-LOAD-BALANCER-SOURCE-IP")) == {f"{where},198.51.100.2"}


def test_a_range_of_everybody_restricts_nobody():
    """ipset has no element for the whole family, and none is needed."""
    found = fragment(make.route(load_balancer_ips=("198.51.100.2",), source_ranges=("0.0.0.0/0",), backends=[LOCAL]), NODE, Options())
    assert not elements(found, "KUBE-LOAD-BALANCER-FW")


def test_sem_20_local_backends_may_reach_themselves():
    found = fragment(make.route(backends=[LOCAL, REMOTE]), NODE, Options())
    assert elements(found, "KUBE-LOOP-BACK") == {f"{LOCAL.address},tcp:8080,{LOCAL.address}": ""}


def test_sem_42_node_ports_are_served_on_accepted_addresses_only():
    accepted = NodePortAddresses(match_all=False, addresses=("192.168.7.9", "127.0.0.1"))
    found = fragment(make.route(node_port=30080, backends=[LOCAL]), make.node(node_ports=accepted), Options())
    assert {key.address for key in servers(found)} == {CLUSTER_IP, "192.168.7.9"}


def test_excluded_addresses_are_left_to_others():
    found = fragment(make.route(external_ips=("198.51.100.1",), backends=[LOCAL]), NODE, Options("rr", ("198.51.100.0/24",)))
    assert {key.address for key in servers(found)} == {CLUSTER_IP}
    assert AddressKey("198.51.100.1") not in found


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
def test_every_frontend_forwards_or_refuses_and_every_real_server_has_its_virtual_one(family, data):
    route, node = data.draw(make.routes(family, 1)), data.draw(make.nodes(family))
    found = fragment(route, node, Options())
    behind = servers(found)
    refused = elements(found, names.SETS[route.family].no_endpoints) | elements(found, names.SETS[route.family].no_local_endpoints)
    for key, addresses in behind.items():
        assert addresses
        assert f"{key.address},{(key.protocol or route.protocol).lower}:{key.port}" not in refused
    assert all(key.virtual in behind for key in found if isinstance(key, RealKey))


def test_sem_40_a_node_port_is_not_served_where_it_is_somebodys_frontend():
    node = make.node()
    route = make.route(node_port=30080, node_port_taken=(make.NODE_ADDRESS[V4],), backends=[LOCAL])
    assert tcp(make.NODE_ADDRESS[V4], 30080) not in fragment(route, node, Options())


def test_service_ports_of_one_mark_do_not_share_their_endpoints(monkeypatch):
    """The second is refused by name, as whatever two want otherwise in one place."""
    monkeypatch.setattr(names, "mark", lambda route: names.MARK_PREFIX | 7)
    external = {"external_local": True, "backends": [LOCAL]}
    one = fragment(make.route(name="one", external_ips=("192.0.2.1",), **external), NODE, Options())
    other = fragment(make.route(name="other", cluster_ip="10.96.0.9", external_ips=("192.0.2.2",), **external), NODE, Options())
    mark = VirtualKey(V4, mark=names.MARK_PREFIX | 7)
    assert one[mark] != other[mark]
    assert one[mark].scheduler == other[mark].scheduler
    assert not one[mark].flags & ServerFlag.PERSISTENT
