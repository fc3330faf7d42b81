"""Whose an address is."""

from fakes.flows import backend, route
from pointsman.conntrack.names import Known, Names, collected
from pointsman.kube.objects import Labels, Node, NodeAddress, NodeStatus, ObjectMeta, Pod, PodIP, PodSpec, PodStatus, Service, ServiceSpec
from pointsman.routing.snapshot import ServiceKey, Snapshot


def pod(name, address, *, phase="Running", host=False, second=""):
    ips = (PodIP(address), PodIP(second)) if second else None
    return Pod(ObjectMeta(name, "shop"), PodSpec(host_network=host), PodStatus(phase, address, ips))


def test_endpoints_tell_their_pods():
    found = collected([route(ends=(backend("10.2.0.7", "dns-1"),), lingering=(backend("10.2.0.9", "dns-9"),))])
    assert found.by_address == {"10.2.0.7": "pod shop/dns-1", "10.2.0.9": "pod shop/dns-9"}


def test_pods_and_nodes_tell_themselves_and_an_address_of_a_node_is_no_pods():
    pods = {
        ("shop", "a"): pod("a", "10.2.0.1", second="fd00::1"),
        ("shop", "b"): pod("b", "172.20.0.2", host=True),
        ("shop", "c"): pod("c", "10.2.0.3", phase="Succeeded"),
    }
    node = Node(ObjectMeta("n2"), status=NodeStatus((NodeAddress("InternalIP", "172.20.0.2"), NodeAddress("Hostname", "n2"))))
    found = collected([route(ends=(backend("172.20.0.2", "b"),))], Snapshot(pods=pods, nodes={"n2": node})).by_address
    assert found == {"10.2.0.1": "pod shop/a", "fd00::1": "pod shop/a", "172.20.0.2": "node n2"}


def test_an_address_with_several_pods_is_nobodys():
    """Pods on the network of a node that is not read."""
    one = route(ends=(backend("172.20.0.9", "dns-1"), backend("10.2.0.7", "dns-2")))
    two = route("web", ends=(backend("172.20.0.9", "web-1"),))
    assert collected([one, two, one]).by_address == {"10.2.0.7": "pod shop/dns-2"}


def test_services_of_another_proxy_are_known_by_their_cluster_ips():
    meta = ObjectMeta("web", "other", labels=Labels(service_proxy_name="cilium"))
    services = {ServiceKey("other", "web"): Service(meta, ServiceSpec(cluster_ip="10.96.0.77", cluster_ips=("10.96.0.77",)))}
    found = collected([], Snapshot(services=services))
    assert found.elsewhere == {"10.96.0.77": "Service other/web"}


def test_names_are_collected_once_and_only_when_asked_for():
    calls = []

    def collect():
        calls.append(1)
        return Known({"10.0.0.1": "pod a/b"}, {"10.96.0.1": "Service a/c"})

    names = Names(collect)
    assert calls == []
    assert (names.of("10.0.0.1"), names.of("10.0.0.2")) == ("pod a/b", "")
    assert (names.elsewhere("10.96.0.1"), names.elsewhere("10.0.0.1")) == ("Service a/c", "")
    assert calls == [1]
