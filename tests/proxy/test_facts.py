import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.kube.objects import Labels, Node, NodeAddress, NodeSpec, NodeStatus, ObjectMeta
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host, addresses_of, external_ip_policy, gather, node_name, readable
from pointsman.routing.node import DetectLocal, ExternalIPPolicy, LocalDetector, NodePortAddresses
from pointsman.routing.route import Family

V4, V6 = Family.IPV4, Family.IPV6
HOST = Host(name="N1", addresses={V4: ("10.0.0.1", "127.0.0.1", "192.168.7.1"), V6: ("::1", "fd00::1")})


def node(
    name: str = "n1", addresses: tuple[tuple[str, str], ...] = (), zone: str | None = None, pod_cidrs: tuple[str, ...] | None = None
) -> Node:
    return Node(
        ObjectMeta(name=name, labels=Labels(zone=zone)),
        NodeSpec(pod_cidrs=pod_cidrs),
        NodeStatus(tuple(NodeAddress(kind, address) for kind, address in addresses)),
    )


INTERNAL = node(
    addresses=(("ExternalIP", "203.0.113.9"), ("InternalIP", "10.0.0.1"), ("InternalIP", "10.0.0.2"), ("InternalIP", "fd00::1"))
)


def test_in_50_the_node_name_is_trimmed_and_lower_cased() -> None:
    assert node_name(Config(hostname_override="  Node-1 "), HOST) == "node-1"
    assert node_name(Config(), HOST) == "n1"
    assert node_name(Config(), Host(name=" ")) == ""


def test_in_52_the_first_internal_ip_of_each_family_is_the_nodes() -> None:
    assert gather(Config(), HOST, {"n1": INTERNAL}).node.node_ips == {V4: "10.0.0.1", V6: "fd00::1"}


def test_in_52_an_external_ip_stands_in() -> None:
    facts = gather(Config(), HOST, {"n1": node(addresses=(("ExternalIP", "203.0.113.9"), ("Hostname", "n1")))})
    assert facts.node.node_ips == {V4: "203.0.113.9", V6: "::1"}


def test_in_52_loopback_stands_in_when_nothing_is_known() -> None:
    assert gather(Config(), HOST, {}).node.node_ips == {V4: "127.0.0.1", V6: "::1"}


def test_in_52_the_bind_address_overrides() -> None:
    assert gather(Config(bind_address="10.9.9.9"), HOST, {"n1": INTERNAL}).node.node_ips == {V4: "10.9.9.9", V6: "fd00::1"}


def test_in_18_leading_zeros_are_decimal_and_nonsense_is_left_out() -> None:
    assert addresses_of(node(addresses=(("InternalIP", "010.000.0.01"), ("InternalIP", "nonsense"), ("InternalIP", "FD00::01")))) == (
        "10.0.0.1",
        "fd00::1",
    )


def test_in_55_the_zone_is_the_nodes_label() -> None:
    assert gather(Config(), HOST, {"n1": node(zone="a")}).node.zone == "a"
    assert gather(Config(), HOST, {}).node.zone == ""


def test_all_node_addresses_are_those_of_every_node() -> None:
    other = node("n2", (("InternalIP", "10.0.0.7"),))
    assert gather(Config(), HOST, {"n2": other, "n1": node()}).node.all_node_addresses == {"10.0.0.7"}


def test_cfg_30_cluster_cidr_detects_by_the_first_of_each_family() -> None:
    facts = gather(Config(cluster_cidr=("fd00:1::5/64", "10.244.0.0/16")), HOST, {})
    assert facts.node.detectors == {
        V6: LocalDetector(DetectLocal.CLUSTER_CIDR, "fd00:1::/64"),
        V4: LocalDetector(DetectLocal.CLUSTER_CIDR, "10.244.0.0/16"),
    }
    assert gather(Config(cluster_cidr=("10.244.0.0/16",)), HOST, {}).node.detector(V6) is None


def test_cfg_31_node_cidr_detects_by_the_nodes_pod_range() -> None:
    config = Config(detect_local_mode="NodeCIDR")
    facts = gather(config, HOST, {"n1": node(pod_cidrs=("10.244.1.0/24", "10.244.2.0/24"))})
    assert facts.node.detectors == {V4: LocalDetector(DetectLocal.NODE_CIDR, "10.244.1.0/24")}
    assert facts.notices == ()
    (notice,) = gather(config, HOST, {}).notices
    assert "podCIDRs" in notice.text


@pytest.mark.parametrize(
    ("config", "value"),
    [
        (Config(detect_local_mode="BridgeInterface", pod_bridge_interface="cni0"), "cni0"),
        (Config(detect_local_mode="InterfaceNamePrefix", pod_interface_name_prefix="veth"), "veth"),
    ],
)
def test_cfg_32_and_cfg_33_interfaces_detect_both_families(config: Config, value: str) -> None:
    detectors = gather(config, HOST, {}).node.detectors
    assert {family: detector.value for family, detector in detectors.items()} == {V4: value, V6: value}


def test_sem_41_by_default_node_ports_are_accepted_everywhere_and_on_ipv4_loopback() -> None:
    ports = gather(Config(), HOST, {}).node.node_ports
    assert ports == {V4: NodePortAddresses(loopback=True), V6: NodePortAddresses(loopback=False)}
    assert gather(Config(localhost_node_ports=False), HOST, {}).node.node_ports[V4] == NodePortAddresses(loopback=False)


def test_sem_40_a_restricted_family_leaves_the_other_alone_and_a_zero_cidr_is_everything() -> None:
    ports = gather(Config(node_port_addresses=("192.168.0.0/16",)), HOST, {}).node.node_ports
    assert ports == {V4: NodePortAddresses(match_all=False, addresses=("192.168.7.1",)), V6: NodePortAddresses()}
    ports = gather(Config(node_port_addresses=("192.168.0.0/16", "0.0.0.0/0")), HOST, {}).node.node_ports
    assert ports[V4] == NodePortAddresses(loopback=True)


def test_sem_42_loopback_inside_the_cidrs_needs_localhost_node_ports() -> None:
    config = Config(node_port_addresses=("127.0.0.0/8", "10.0.0.0/24", "::1/128"))
    facts = gather(config, HOST, {})
    assert facts.node.node_ports[V4] == NodePortAddresses(match_all=False, addresses=("10.0.0.1", "127.0.0.1"), loopback=True)
    assert facts.node.node_ports[V6] == NodePortAddresses(match_all=False)
    assert any("::1" in notice.text for notice in facts.notices)
    off = gather(Config(node_port_addresses=("127.0.0.0/8", "10.0.0.0/24"), localhost_node_ports=False), HOST, {})
    assert off.node.node_ports[V4] == NodePortAddresses(match_all=False, addresses=("10.0.0.1",))
    assert any("127.0.0.1" in notice.text for notice in off.notices)


def test_sem_42_cidrs_without_an_address_are_noticed() -> None:
    facts = gather(Config(node_port_addresses=("172.16.0.0/12", "::/0")), HOST, {})
    assert facts.node.node_ports[V4] == NodePortAddresses(match_all=False)
    assert "nowhere" in facts.notices[0].text


def test_sem_43_primary_is_the_node_objects_addresses() -> None:
    ports = gather(Config(node_port_addresses=("primary",)), HOST, {"n1": node(addresses=(("InternalIP", "10.0.0.1"),))}).node.node_ports
    assert ports == {V4: NodePortAddresses(match_all=False, addresses=("10.0.0.1",)), V6: NodePortAddresses(match_all=False)}


def test_external_ip_policy() -> None:
    assert external_ip_policy(Config()) == ExternalIPPolicy()
    assert external_ip_policy(Config(external_ips="deny")) == ExternalIPPolicy(deny=True)
    ranges = Config(external_ips="ranges", external_ip_ranges=("192.0.2.0/24",))
    assert external_ip_policy(ranges) == ExternalIPPolicy(allowed_ranges=("192.0.2.0/24",))


def test_settings_reach_the_facts() -> None:
    facts = gather(Config(masquerade_all=True, masquerade_bit=3), Host(name="n1", tcp_be_liberal=True), {}).node
    assert (facts.masquerade_all, facts.masquerade_bit, facts.tcp_be_liberal) == (True, 3, True)


def test_facts_in_words() -> None:
    words = dict(readable(gather(Config(cluster_cidr=("10.244.0.0/16",)), HOST, {"n1": INTERNAL}).node))
    assert words == {"node": "n1", "zone": "none", "node_ips": "10.0.0.1,fd00::1", "local_IPv4": "ClusterCIDR:10.244.0.0/16"}


@given(st.permutations(["127.0.0.1", "10.0.0.1", "192.168.7.1", "10.0.0.2"]), st.sampled_from([(), ("10.0.0.0/8",), ("0.0.0.0/0",)]))
def test_the_order_of_the_kernels_addresses_does_not_matter_to_node_ports(addresses: list[str], cidrs: tuple[str, ...]) -> None:
    config = Config(node_port_addresses=cidrs)
    found = [gather(config, Host("n1", {V4: tuple(order)}), {}).node.node_ports for order in (addresses, sorted(addresses))]
    assert found[0] == found[1]
