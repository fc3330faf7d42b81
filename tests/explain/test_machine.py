import pytest
from pointsman.explain.findings import Level
from pointsman.explain.machine import LOCAL_PORTS, RESERVED_PORTS, ForeignTable, Machine, findings, packet_settings
from pointsman.routing.route import Family


def told(machine, topic):
    return [(one.level, one.text) for one in findings(machine) if one.topic == topic]


@pytest.mark.parametrize(("machine", "topic", "level", "text"), [
    (Machine(settings={"net.ipv4.ip_forward": "0"}), "net.ipv4.ip_forward", Level.BAD, "net.ipv4.ip_forward is 0"),
    (Machine(settings={"net.ipv4.ip_forward": "1"}), "net.ipv4.ip_forward", Level.OK, "net.ipv4.ip_forward is 1"),
    (Machine(settings={"net.ipv4.conf.eth0.rp_filter": "1"}), "rp_filter", Level.WARN, "net.ipv4.conf.eth0.rp_filter is 1"),
    (Machine(settings={"net.bridge.bridge-nf-call-iptables": "0"}), "bridge-nf", Level.WARN, "net.bridge.bridge-nf-call-iptables is 0"),
    (Machine(entries=90, entries_max=100), "conntrack", Level.WARN, "90 of 100 connections are tracked (90%)"),
    (Machine(entries=99, entries_max=100), "conntrack", Level.BAD, "99 of 100 connections are tracked (99%)"),
    (Machine(entries=1, entries_max=100), "conntrack", Level.OK, "1 of 100 connections are tracked (1%)"),
    (Machine(counters={"insert_failed": 3}), "conntrack", Level.WARN, "insert_failed: 3"),
    (Machine(processes=("kube-proxy",)), "kube-proxy", Level.BAD, "kube-proxy is running"),
    (Machine(processes=("firewalld",)), "firewalld", Level.WARN, "firewalld is running"),
    (Machine(variants={"legacy": 3, "nft": 4}), "iptables", Level.WARN, "3 rules in legacy and 4 rules in nft"),
    (Machine(interfaces={"lo": 65536, "eth0": 1200}), "mtu", Level.BAD, "eth0 has an MTU of 1200"),
    (Machine(interfaces={"eth0": 1500, "flannel.1": 1450}), "mtu", Level.OK, "between 1450 and 1500 on 2 interfaces"),
    (Machine(interfaces={"eth0": 1500, "flannel.1": 1500}), "mtu", Level.WARN,
     "flannel.1 has an MTU of 1500, and the widest physical interface one of 1500"),
    (Machine(interfaces={"eth0": 1400, "bond0": 9000, "vxlan.calico": 8950}), "mtu", Level.OK, "between 1400 and 9000 on 3 interfaces"),
    (Machine(clock_synchronised=False), "clock", Level.WARN, "the kernel's clock is not synchronised"),
    (Machine(preflight=("ip_vs: no such module",)), "kernel", Level.BAD, "ip_vs: no such module"),
    (Machine(nameservers=("10.0.0.2",)), "dns", Level.OK, "this node asks 10.0.0.2; pods ask what kubelet's clusterDNS says"),
    (Machine(foreign=(ForeignTable("Calico", "x", refuses=True),)), "rules of Calico", Level.WARN, "x"),
])  # fmt: skip
def test_each_rule_of_judgement(machine, topic, level, text):
    assert (level, text) in told(machine, topic)


@pytest.mark.parametrize(("release", "value", "level"), [
    ("5.4.0", "1", Level.BAD), ("5.4.0", "0", Level.OK), ("6.1.0", "1", Level.OK), ("6.1.0", "0", Level.BAD),
])  # fmt: skip
def test_pains_17_and_18_the_right_setting_depends_on_the_kernel(release, value, level):
    machine = Machine(release=release, mode="ipvs", settings={"net.ipv4.vs.conn_reuse_mode": value})
    assert [one for one, _ in told(machine, "conn_reuse_mode")] == [level]


def test_every_bad_or_doubtful_finding_has_a_reason_and_what_to_do():
    machine = Machine(
        settings={"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.rp_filter": "1", "net.bridge.bridge-nf-call-iptables": "0"},
        entries=99, entries_max=100, counters={"drop": 1}, interfaces={"eth0": 1000}, processes=("kube-proxy", "firewalld"),
        variants={"legacy": 1, "nft": 1}, clock_synchronised=False, preflight=("x",), foreign=(ForeignTable("x", "y", refuses=True),),
    )  # fmt: skip
    found = findings(machine)
    assert found[0].level is Level.BAD
    assert all(one.why and one.fix for one in found if one.level is not Level.OK)


def test_only_settings_that_stop_packets_matter_to_one_packet():
    machine = Machine(settings={"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "1", "net.ipv4.conf.all.rp_filter": "1"})
    assert [one.stops for one in packet_settings(machine, Family.IPV4)] == ["forwarded"]
    assert [one.level for one in packet_settings(machine, Family.IPV6)] == [Level.OK]


@pytest.mark.parametrize(("mode", "given", "reserved", "level", "text"), [
    ("iptables", "32768\t60999", "", Level.OK, "no node port is given"),
    ("iptables", "1024\t65535", "", Level.WARN, "is 1024-65535, and 30080, 30443 in it are node ports"),
    ("ipvs", "1024\t65535", "8080", Level.WARN, "is 1024-65535, and 30080, 30443 in it are node ports"),
    ("ipvs", "1024\t65535", "30000-30100", Level.WARN, "and 30443 in it are node ports"),
    ("ipvs", "1024\t65535", "8080,30000-32767", Level.OK, "no node port is given"),
])  # fmt: skip
def test_pain_14_a_node_port_that_programs_may_be_given_is_told(mode, given, reserved, level, text):
    settings = {LOCAL_PORTS: given, RESERVED_PORTS: reserved}
    machine = Machine(mode=mode, settings=settings, node_ports=(30443, 30080))
    (found,) = [one for one in findings(machine) if one.topic == "node ports"]
    assert found.level is level
    assert text in found.text
    kept = "8080," if "8080" in reserved else ""
    assert level is Level.OK or found.fix == f"sysctl -w {RESERVED_PORTS}={kept}30000-32767"
    assert ("counts as a new connection" in found.why) is (level is Level.WARN and mode == "ipvs")


def test_pain_14_node_ports_out_of_the_usual_range_are_reserved_one_by_one():
    machine = Machine(settings={LOCAL_PORTS: "32768 60999"}, node_ports=(40000, 40001, 50000, 30000))
    (found,) = [one for one in findings(machine) if one.topic == "node ports"]
    assert found.fix == f"sysctl -w {RESERVED_PORTS}=40000-40001,50000"
