import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from fakes.planted import OPTIONS, prepare, program
from fakes.scratch import lock_file, namespace, shell
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


WEB = ("10.96.10.1", 80)
PATIENCE_SECONDS = 60.0


@contextmanager
def watching(ends, *arguments):
    """Run the command as a person does; give its process and the lines that it has printed so far, and end it by a signal."""
    command = [sys.executable, "-m", "pointsman.proxy.cli.main", "explain", *OPTIONS, *arguments, "--watch"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        reader = threading.Thread(target=lambda: lines.extend(iter(running.stdout.readline, "")))
        reader.start()
        try:
            yield running, lines
        finally:
            running.send_signal(ends)
            try:
                running.wait(PATIENCE_SECONDS)
            finally:
                running.kill()
                reader.join()


def knock():
    """Send the first packet of a connection to a Service; nobody answers."""
    with socket.socket() as one, suppress(OSError):
        one.setblocking(False)
        one.connect(WEB)


@pytest.mark.kernel
@pytest.mark.parametrize(("variant", "ends", "begins", "tells"), [
    ("nft", signal.SIGINT, "following tcp", ("nat KUBE-SERVICES", "dnat to 10.244.")),
    ("nft", signal.SIGTERM, "following tcp", ("nat KUBE-SERVICES", "dnat to 10.244.")),
    ("legacy", signal.SIGINT, "following the counters", ("packets  nat KUBE-", "--to-destination 10.244.")),
], ids=["nft", "nft-told-to-end", "legacy"])  # fmt: skip
def test_real_packets_are_shown_rule_by_rule_until_the_end_which_leaves_nothing(monkeypatch, tmp_path, variant, ends, begins, tells):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", variant))
        before = shell("nft list tables")
        with watching(ends, "--iptables-variant", variant, "--to", "web.shop:80", "--family", "IPv4") as (running, lines):
            end = time.monotonic() + PATIENCE_SECONDS
            while not all(any(text in line for line in lines) for text in (begins, *tells)):
                assert time.monotonic() < end, lines
                assert running.poll() is None, lines
                knock()
                time.sleep(0.1)
        assert running.returncode == 0
        assert shell("nft list tables") == before
