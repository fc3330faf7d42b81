"""Buckets: every address and port finds exactly one leaf."""

import socket

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference, shell
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables import dispatch, names
from pointsman.iptables.names import Role
from pointsman.iptables.objects import RuleKey
from pointsman.routing.route import Backend, Family, Protocol

V4, V6 = Family.IPV4, Family.IPV6


def test_the_lowest_byte_leads_to_the_leaf_in_two_steps():
    leaf, jumps = dispatch.by_address("nat", names.DESTINATIONS, V4, "10.96.0.58")
    assert leaf == "KUBE-DST-3A"
    assert jumps == (
        RuleKey("nat", "KUBE-DST", "-d 0.0.0.10/0.0.0.15 -j KUBE-DST-A"),
        RuleKey("nat", "KUBE-DST-A", "-d 0.0.0.58/0.0.0.255 -j KUBE-DST-3A"),
    )
    leaf, jumps = dispatch.by_address("filter", names.PROXY_FIREWALL, V6, "fd00:96::13a")
    assert leaf == "KUBE-DST-3A"
    assert jumps == (
        RuleKey("filter", "KUBE-PROXY-FIREWALL", "-d ::a/::f -j KUBE-DST-A"),
        RuleKey("filter", "KUBE-DST-A", "-d ::3a/::ff -j KUBE-DST-3A"),
    )


def test_zero_is_a_byte_too():
    assert dispatch.by_address("nat", names.DESTINATIONS, V6, "fd00::")[1][0].rule == "-d ::/::f -j KUBE-DST-0"
    assert dispatch.by_address("nat", names.DESTINATIONS, V4, "10.96.1.0")[0] == "KUBE-DST-00"


@given(st.ip_addresses(v=6))
def test_ipv6_addresses_go_by_their_lowest_byte_however_they_are_written(address):
    expected = f"KUBE-DST-{int(address) & 0xFF:02X}"
    for text in (str(address), address.exploded):
        assert dispatch.by_address("nat", names.DESTINATIONS, V6, text)[0] == expected
    assert dispatch.by_address("nat", names.DESTINATIONS, V6, "::ffff:10.0.0.58")[0] == "KUBE-DST-3A"


@given(st.integers(1, 65535), st.sampled_from(list(Protocol)))
def test_a_node_port_lies_in_its_block(port, protocol):
    leaf, (jump,) = dispatch.by_node_port("nat", names.NODE_PORTS, protocol, port)
    first, last = map(int, jump.rule.split("--dport ")[1].split()[0].split(":"))
    assert first <= port <= last <= 65535
    assert last - first == 63
    assert jump.rule.startswith(f"-p {protocol.lower} -m {protocol.lower} ")
    assert len(leaf) <= 28
    assert names.role("nat", leaf) is Role.SHARED


def test_all_addresses_share_few_jumps():
    jumps = {jump for i in range(2000) for jump in dispatch.by_address("nat", names.DESTINATIONS, V4, f"10.96.{i // 250}.{i % 256}")[1]}
    assert len(jumps) == 16 + 256


@pytest.mark.kernel
async def test_real_connections_find_their_leaf_by_mask(kernel, family):
    """Both ends of the byte and of the nibbles; another port of a known address is refused (SEM-27)."""
    node_address, numbers = make.NODE_ADDRESS[family], (0, 1, 0x0F, 0x10, 0x3A, 0xA3, 0xFF, 0x13A)
    shell(f"ip address add {node_address} dev lo {'nodad' if family is V6 else ''}")  # a tentative address is no source yet
    shell("ip link add east type veth peer name west; ip link set east up; ip link set west up")  # a way out: REJECT is mute on lo
    shell(f"ip route add {make.SERVICE_RANGE[family]} dev east src {node_address}")
    with socket.create_server((node_address, 0), family=socket.AF_INET if family is V4 else socket.AF_INET6) as server:
        backend = Backend(node_address, server.getsockname()[1], True, True)
        routes = [make.route(family, name=f"s{n}", backends=[backend], cluster_ip=make.vip(family, 96, n)) for n in numbers]
        wanted = desired(family, make.routing(*routes, cidrs=False), make.node(family, detector=None))
        assert not (await kernel.apply(difference(family, wanted, await kernel.observe()))).failed
        for number in numbers:
            socket.create_connection((make.vip(family, 96, number), 80), timeout=60).close()
        with pytest.raises(ConnectionRefusedError):  # once: the kernel answers an address once a second
            socket.create_connection((make.vip(family, 96, numbers[0]), 81), timeout=60)
