"""Service → facts: IN-01 and IN-10 to IN-21, and a notice for everything that cannot be used."""

import pytest
from fakes.objects import HTTP, service
from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.node import ExternalIPPolicy
from pointsman.routing.route import Family, FrontendKind, Protocol, ServicePortName, Severity
from pointsman.routing.service import is_routed, service_facts

ALLOW = ExternalIPPolicy()
V4, V6 = Family.IPV4, Family.IPV6
CLUSTER, EXTERNAL, BALANCER = FrontendKind.CLUSTER_IP, FrontendKind.EXTERNAL_IP, FrontendKind.LOAD_BALANCER_IP
DUAL = {"clusterIPs": ["10.96.0.1", "fd00:96::1"], "ipFamilies": ["IPv4", "IPv6"]}


def facts(policy=ALLOW, **spec):
    return service_facts(service(**spec), policy)


def addresses(found, family, kind):
    return next((one.addresses(kind) for one in found.families if one.family is family), ())


def fields(found):
    return [notice.field for notice in found.notices]


# --- which Services are routed -----------------------------------------------------------------------------------------


def test_in_01_a_service_of_another_proxy_is_not_routed():
    for value in ("kube-router", ""):
        assert not is_routed(service(labels={"service.kubernetes.io/service-proxy-name": value}))
    assert is_routed(service(labels={"app": "web"}))


def test_in_10_headless_and_external_name_services_are_not_routed():
    assert not is_routed(service(clusterIP="None"))
    assert not is_routed(service(type="ExternalName", clusterIP="10.96.0.1"))


def test_in_10_a_service_without_cluster_ip_is_routed_nowhere_and_says_so():
    for missing in ("", None):
        found = facts(clusterIP=missing)
        assert found.families == ()
        assert fields(found) == ["spec.clusterIP"]


# --- families ----------------------------------------------------------------------------------------------------------


def test_in_11_without_families_the_cluster_ip_decides():
    assert [one.family for one in facts().families] == [V4]
    assert [one.family for one in facts(clusterIP="fd00:96::1").families] == [V6]


def test_in_11_without_families_further_cluster_ips_do_not_count():
    found = facts(clusterIPs=["10.96.0.1", "fd00:96::1"])
    assert [one.family for one in found.families] == [V4]
    assert fields(found) == ["spec.clusterIPs[1]"]


def test_in_11_with_families_each_has_the_cluster_ip_at_its_place():
    found = facts(clusterIP="fd00:96::1", clusterIPs=["fd00:96::1", "10.96.0.1"], ipFamilies=["IPv6", "IPv4"])
    assert [one.family for one in found.families] == [V6, V4]
    assert addresses(found, V4, CLUSTER) == ("10.96.0.1",)
    assert addresses(found, V6, CLUSTER) == ("fd00:96::1",)
    assert found.notices == ()


def test_in_11_without_a_cluster_ip_of_the_family_nothing_is_routed_in_it():
    found = facts(clusterIPs=["10.96.0.1"], ipFamilies=["IPv4", "IPv6"], externalIPs=["2001:db8::1", "192.0.2.1"])
    assert [one.family for one in found.families] == [V4]
    assert addresses(found, V4, EXTERNAL) == ("192.0.2.1",)
    assert fields(found) == ["spec.ipFamilies[1]"]


def test_in_11_a_manifest_may_name_families_and_leave_out_cluster_ips():
    found = facts(ipFamilies=["IPv4"])
    assert addresses(found, V4, CLUSTER) == ("10.96.0.1",)
    assert found.notices == ()


@pytest.mark.parametrize(
    ("spec", "noted"),
    [
        ({"clusterIPs": ["fd00::1"], "ipFamilies": ["IPv4"], "clusterIP": "fd00::1"}, ["spec.clusterIPs[0]"]),
        ({"clusterIPs": ["10.96.0.300"], "ipFamilies": ["IPv4"], "clusterIP": "10.96.0.300"}, ["spec.clusterIPs[0]"]),
        ({"clusterIP": "10.96.0.300"}, ["spec.clusterIP"]),
        ({"clusterIP": "127.0.0.1"}, ["spec.clusterIP"]),
        ({"clusterIP": "224.0.0.1"}, ["spec.clusterIP"]),
        ({"clusterIP": "0.0.0.0"}, ["spec.clusterIP"]),
    ],
)
def test_an_unusable_cluster_ip_does_not_take_the_other_frontends_with_it(spec, noted):
    found = facts(**spec, externalIPs=["192.0.2.1"], ports=[{**HTTP, "nodePort": 30080}])
    assert fields(found) == noted
    assert addresses(found, V4, CLUSTER) == ()
    assert addresses(found, V4, EXTERNAL) == ("192.0.2.1",)
    assert found.ports[0].node_port == 30080


@pytest.mark.parametrize(
    ("spec", "noted"),
    [
        ({"ipFamilies": ["IPv5"]}, ["spec.ipFamilies[0]"]),
        ({"ipFamilies": ["IPv4", "IPv4"], "clusterIPs": ["10.96.0.1", "10.96.0.2"]}, ["spec.ipFamilies[1]"]),
        ({"ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.1", "fd00::1"]}, ["spec.clusterIPs[1]"]),
        ({"ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.2"]}, ["spec.clusterIP"]),
    ],
)
def test_contradicting_families_and_addresses_are_reported(spec, noted):
    assert fields(facts(**spec)) == noted


# --- addresses ---------------------------------------------------------------------------------------------------------


def test_in_15_external_ips_are_split_by_family_and_bad_ones_lose_only_themselves():
    found = facts(**DUAL, externalIPs=["192.0.2.1", "nonsense", "2001:db8::1", "192.0.2.1", "010.0.0.1"])
    assert addresses(found, V4, EXTERNAL) == ("192.0.2.1", "10.0.0.1")
    assert addresses(found, V6, EXTERNAL) == ("2001:db8::1",)
    (notice,) = found.notices
    assert str(notice).startswith("Service shop/web: spec.externalIPs[1]: 'nonsense' is not an IP address")
    assert notice.severity is Severity.REFUSED


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_addresses_that_no_service_can_have_are_refused(address):
    found = facts(externalIPs=[address], ingress=[{"ip": address}])
    assert fields(found) == ["status.loadBalancer.ingress[0].ip", "spec.externalIPs[0]"]
    assert all(notice.severity is Severity.REFUSED for notice in found.notices)
    assert addresses(found, V4, EXTERNAL) == addresses(found, V4, BALANCER) == ()


def test_a_link_local_external_ip_is_programmed_and_suspicious():
    found = facts(externalIPs=["169.254.1.1"])
    assert addresses(found, V4, EXTERNAL) == ("169.254.1.1",)
    assert found.notices[0].severity is Severity.SUSPICIOUS


def test_external_ips_can_be_denied_or_restricted_to_ranges():
    ips = ["192.0.2.1", "198.51.100.1"]
    denied = facts(ExternalIPPolicy(deny=True), externalIPs=ips)
    assert addresses(denied, V4, EXTERNAL) == ()
    assert fields(denied) == ["spec.externalIPs[0]", "spec.externalIPs[1]"]
    ranged = facts(ExternalIPPolicy(allowed_ranges=("192.0.2.0/24",)), externalIPs=ips)
    assert addresses(ranged, V4, EXTERNAL) == ("192.0.2.1",)
    assert fields(ranged) == ["spec.externalIPs[1]"]
    assert "192.0.2.0/24" in ranged.notices[0].text
    assert {notice.severity for notice in (*denied.notices, *ranged.notices)} == {Severity.REFUSED}


def test_in_16_load_balancer_ips_are_those_of_mode_vip():
    ingress = [
        {"ip": "192.0.2.1"},
        {"hostname": "lb"},
        {"ip": "192.0.2.2", "ipMode": "Proxy"},
        {"ip": "192.0.2.3", "ipMode": "VIP"},
        {"ip": "2001:db8::1"},
    ]
    found = facts(ingress=ingress)  # whatever the type
    assert addresses(found, V4, BALANCER) == ("192.0.2.1", "192.0.2.3")
    assert found.notices == ()


def test_in_16_an_unknown_mode_counts_as_vip_and_is_reported():
    found = facts(ingress=[{"ip": "192.0.2.1", "ipMode": "Odd"}])
    assert addresses(found, V4, BALANCER) == ("192.0.2.1",)
    assert fields(found) == ["status.loadBalancer.ingress[0].ipMode"]


def test_in_17_source_ranges_are_trimmed_split_by_family_and_bad_ones_dropped():
    found = facts(**DUAL, loadBalancerSourceRanges=[" 10.0.0.1/8 ", "2001:db8::/32\t", "nonsense", "10.0.0.0/8"])
    assert [one.source_ranges for one in found.families] == [("10.0.0.0/8",), ("2001:db8::/32",)]
    assert fields(found) == ["spec.loadBalancerSourceRanges[2]"]


def test_in_17_ranges_of_the_other_family_only_leave_this_one_open_and_say_so():
    found = facts(type="LoadBalancer", loadBalancerSourceRanges=["2001:db8::/32"])
    assert found.families[0].source_ranges == ()
    assert fields(found) == ["spec.loadBalancerSourceRanges"]
    assert "everybody" in found.notices[0].text


def test_sem_30_a_zero_range_admits_everybody():
    assert facts(loadBalancerSourceRanges=["10.0.0.0/8", "0.0.0.0/0"]).families[0].source_ranges == ()


def test_in_18_leading_zeros_are_decimal_everywhere():
    found = facts(
        clusterIP="010.096.000.001",
        externalIPs=["192.000.002.001"],
        ingress=[{"ip": "192.0.2.010"}],
        loadBalancerSourceRanges=["010.0.0.0/8"],
    )
    assert addresses(found, V4, CLUSTER) == ("10.96.0.1",)
    assert addresses(found, V4, EXTERNAL) == ("192.0.2.1",)
    assert addresses(found, V4, BALANCER) == ("192.0.2.10",)
    assert found.families[0].source_ranges == ("10.0.0.0/8",)


# --- ports -------------------------------------------------------------------------------------------------------------


def test_in_12_each_port_is_keyed_by_name_and_protocol():
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns", "port": 53, "protocol": "TCP"},
        {"name": "sig", "port": 2905, "protocol": "SCTP"},
    ]
    names = [port.port_name for port in facts(ports=ports).ports]
    assert names == [
        ServicePortName("shop", "web", name, proto)
        for name, proto in (("dns", Protocol.UDP), ("dns", Protocol.TCP), ("sig", Protocol.SCTP))
    ]
    assert str(names[0]) == "shop/web:dns"


def test_in_12_an_unnamed_port_has_the_empty_name_and_tcp_is_the_default():
    (port,) = facts(ports=[{"port": 80}]).ports
    assert port.port_name == ServicePortName("shop", "web", "", Protocol.TCP)
    assert str(port.port_name) == "shop/web"


def test_in_13_a_node_port_counts_whatever_the_type():
    assert facts(ports=[{**HTTP, "nodePort": 30080}]).ports[0].node_port == 30080
    assert facts(type="LoadBalancer").ports[0].node_port == 0  # IN-14, no node port allocated


@pytest.mark.parametrize(
    ("port", "field"),
    [
        ({"name": "bad", "port": 0}, "spec.ports[1].port"),
        ({"name": "bad", "port": 65536}, "spec.ports[1].port"),
        ({"name": "bad", "port": -1}, "spec.ports[1].port"),
        ({"name": "bad", "port": 81, "protocol": "tcp"}, "spec.ports[1].protocol"),
        ({"name": "bad", "port": 81, "protocol": "ICMP"}, "spec.ports[1].protocol"),
        ({"name": "http", "port": 81}, "spec.ports[1].name"),
    ],
)
def test_an_unusable_port_does_not_take_the_others_with_it(port, field):
    found = facts(ports=[HTTP, port, {"name": "last", "port": 82}])
    assert [one.port for one in found.ports] == [80, 82]
    assert fields(found) == [field]


@pytest.mark.parametrize("number", [-1, 65536])
def test_an_unusable_node_port_leaves_the_port(number):
    found = facts(ports=[{**HTTP, "nodePort": number}])
    assert [(one.port, one.node_port) for one in found.ports] == [(80, 0)]
    assert fields(found) == ["spec.ports[0].nodePort"]


def test_a_service_without_ports_says_so():
    assert fields(facts(ports=[])) == ["spec.ports"]


# --- policies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "local"),
    [
        ({"type": "LoadBalancer", "healthCheckNodePort": 32000}, True),
        ({"type": "NodePort"}, True),
        ({"type": "ClusterIP"}, False),
        ({"type": "ClusterIP", "externalIPs": ["192.0.2.1"]}, True),
        ({}, False),
    ],
)
def test_in_19_the_external_policy_counts_only_where_the_type_is_external(spec, local):
    assert facts(externalTrafficPolicy="Local", **spec).external_local is local
    assert facts(externalTrafficPolicy="Cluster", **spec).external_local is False


def test_in_19_the_internal_policy_defaults_to_cluster():
    assert not facts().internal_local
    assert not facts(internalTrafficPolicy="Cluster").internal_local
    assert facts(internalTrafficPolicy="Local").internal_local


@pytest.mark.parametrize("field", ["internalTrafficPolicy", "externalTrafficPolicy", "sessionAffinity", "type"])
def test_unknown_words_are_reported_and_the_default_is_used(field):
    found = facts(**{field: "local"})
    assert not found.internal_local
    assert not found.external_local
    assert found.affinity_seconds == 0
    assert fields(found) == [f"spec.{field}"]


@pytest.mark.parametrize(
    ("spec", "port", "noted"),
    [
        ({"type": "LoadBalancer", "healthCheckNodePort": 32000}, 32000, []),
        ({"type": "LoadBalancer"}, 0, ["spec.healthCheckNodePort"]),
        ({"type": "LoadBalancer", "healthCheckNodePort": 99999}, 0, ["spec.healthCheckNodePort"]),
        ({"type": "NodePort", "healthCheckNodePort": 32000}, 0, []),
        ({"type": "LoadBalancer", "healthCheckNodePort": 32000, "externalTrafficPolicy": "Cluster"}, 0, []),
    ],
)
def test_in_20_a_health_check_port_belongs_to_local_load_balancers(spec, port, noted):
    found = facts(**{"externalTrafficPolicy": "Local", **spec})
    assert found.health_check_port == port
    assert fields(found) == noted


def timeout(seconds):
    return {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


@pytest.mark.parametrize(
    ("spec", "seconds", "noted"),
    [
        ({}, 0, []),
        ({"sessionAffinity": "None", **timeout(60)}, 0, []),
        ({"sessionAffinity": "ClientIP"}, 10800, []),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {}}, 10800, []),
        ({"sessionAffinity": "ClientIP", **timeout(1)}, 1, []),
        ({"sessionAffinity": "ClientIP", **timeout(86400)}, 86400, []),
        ({"sessionAffinity": "ClientIP", **timeout(86401)}, 10800, ["spec.sessionAffinityConfig.clientIP.timeoutSeconds"]),
        ({"sessionAffinity": "ClientIP", **timeout(0)}, 10800, ["spec.sessionAffinityConfig.clientIP.timeoutSeconds"]),
    ],
)
def test_in_21_affinity_has_its_timeout(spec, seconds, noted):
    found = facts(**spec)
    assert found.affinity_seconds == seconds
    assert fields(found) == noted


TEXT = st.text(max_size=6) | st.sampled_from(["10.0.0.1", "fd00::1", "None", "Local", "IPv4", "IPv6", "TCP"])


@given(
    spec=st.fixed_dictionaries(
        {},
        optional={
            "clusterIP": TEXT,
            "clusterIPs": st.lists(TEXT, max_size=3),
            "ipFamilies": st.lists(TEXT, max_size=3),
            "externalIPs": st.lists(TEXT, max_size=3),
            "loadBalancerSourceRanges": st.lists(TEXT, max_size=3),
            "ingress": st.lists(st.fixed_dictionaries({}, optional={"ip": TEXT, "ipMode": TEXT}), max_size=2),
            "internalTrafficPolicy": TEXT,
            "externalTrafficPolicy": TEXT,
            "sessionAffinity": TEXT,
            "type": TEXT,
            "healthCheckNodePort": st.integers(-1, 70000),
            "ports": st.lists(
                st.fixed_dictionaries({"port": st.integers(-1, 70000)}, optional={"name": TEXT, "protocol": TEXT}), max_size=3
            ),
        },
    )
)
def test_no_spec_breaks_the_judge_and_what_it_admits_is_usable(spec):
    found = facts(**spec)
    assert len({one.family for one in found.families}) == len(found.families)
    for one in found.families:
        assert all((":" in vip.address) == (one.family is V6) for vip in one.vips)
    assert all(0 < port.port <= 65535 for port in found.ports)
    assert len({port.port_name for port in found.ports}) == len(found.ports)
    assert found.notices == service_facts(service(**spec), ALLOW).notices
