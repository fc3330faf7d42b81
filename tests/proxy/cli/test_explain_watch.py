import subprocess

import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.trace import Evidence
from pointsman.proxy.cli.explain_watch import moved, script, told
from pointsman.routing.packet import Packet
from pointsman.routing.route import Protocol

PACKET = Packet("10.244.1.1", "10.96.0.1", Protocol.TCP, 80, "pod1")


def test_lines_of_the_trace_in_short():
    line = 'trace id 8be1 ip nat KUBE-SERVICES rule counter packets 1 jump KUBE-DST (verdict jump KUBE-DST)'
    assert told(line) == "8be1  ip nat KUBE-SERVICES  rule counter packets 1 jump KUBE-DST (verdict jump KUBE-DST)"
    assert told("trace id 8be1 ip pointsman_trace_7 output rule meta nftrace set 1 (verdict continue)") == ""
    assert told("add table ip x") == ""


def test_counters_that_grow_are_told_once_they_grow():
    last = {}
    assert list(moved([Evidence("a", "b", packets=5)], last)) == []
    assert list(moved([Evidence("a", "b", packets=5)], last)) == []
    assert list(moved([Evidence("a", "b", packets=7)], last)) == ["+2 packets  a: b"]


@pytest.mark.kernel
@pytest.mark.parametrize("packet", [PACKET, Packet("fd00::1", "fd00::2", Protocol.UDP, 53)], ids=["IPv4", "IPv6"])
def test_the_kernel_takes_the_table_that_marks_packets_and_loses_it_again(packet):
    with namespace():
        subprocess.run(["nft", "-f", "-"], input=script(packet, "pointsman_trace_1"), text=True, check=True)
        assert "meta nftrace set 1" in shell("nft list ruleset")
        shell(f"nft delete table {'ip6' if ':' in packet.source else 'ip'} pointsman_trace_1")
        assert shell("nft list ruleset") == ""
