import asyncio
import json
import socket

import pytest
from fakes.planted import invoke, prepare, program
from fakes.scratch import lock_file, namespace, shell
from pointsman.explain.traffic import Row
from pointsman.proxy.cli.top import table

ROWS = (
    Row("shop/web:http", "TCP", "", "", 1200, 5, 7, None, None, 1.5),
    Row("shop/web:http", "TCP", "10.0.0.1:8080", "web-1", 900, 5, 7),
)


def test_a_number_that_the_mode_does_not_have_is_a_dash():
    head, first, second = table(ROWS).splitlines()
    assert " ".join(head.split()) == "SERVICE PORT ENDPOINT CONNECTIONS PACKETS IN BYTES IN PACKETS OUT BYTES OUT SKEW"
    assert first.split() == ["shop/web:http", "tcp", "1,200", "5", "7", "-", "-", "1.50"]
    assert second.split() == ["10.0.0.1:8080", "web-1", "900", "5", "7", "-", "-"]


@pytest.mark.kernel
def test_totals_of_a_programmed_node(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", "nft"))
        status, said = invoke("top", "iptables", "nft", "--once", "--endpoints", "-o", "json")
        assert "packets and bytes too with sysctl -w net.netfilter.nf_conntrack_acct=1" in invoke("top", "iptables", "nft", "--once")[1]
    assert status == 0
    found = json.loads(said)
    assert found["counted"].startswith("connections by counters of the rules that pick an endpoint; ")
    assert {row["service"] for row in found["rows"]} >= {"shop/web:http", "monitoring/statsd"}


@pytest.mark.kernel
def test_packets_and_bytes_are_connection_trackings_where_it_counts_them(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", "nft"))
        shell("sysctl -q -w net.netfilter.nf_conntrack_acct=1")
        for address in ("10.244.1.11", "10.244.2.11", "10.244.2.16"):  # the endpoints of shop/web, all here
            shell(f"ip addr add {address}/32 dev lo")
        with socket.create_server(("0.0.0.0", 8080)) as server, socket.create_connection(("10.96.10.1", 80), timeout=60) as line:
            line.sendall(b"x" * 1000)
            with server.accept()[0] as other:
                assert other.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
                endpoint = other.getsockname()[0]
                _, said = invoke("top", "iptables", "nft", "--once", "--endpoints", "-o", "json")
    found = json.loads(said)
    assert found["counted"].endswith("packets and bytes by connection tracking, of connections that were there when it was read")
    web = {row["endpoint"]: row for row in found["rows"] if row["service"] == "shop/web:http"}
    used = web[f"{endpoint}:8080"]
    assert used["connections"] == web[""]["connections"] == 1
    assert used["bytesIn"] == web[""]["bytesIn"] > 1000
    assert used["packetsIn"] >= 3
    assert used["packetsOut"] >= 1
