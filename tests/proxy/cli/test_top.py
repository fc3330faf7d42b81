import asyncio
import json

import pytest
from fakes.planted import invoke, prepare, program
from fakes.scratch import lock_file, namespace
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
        assert "connections only" in invoke("top", "iptables", "nft", "--once")[1]
    assert status == 0
    found = json.loads(said)
    assert found["counted"] == "counters of the rules that pick an endpoint: connections only"
    assert {row["service"] for row in found["rows"]} >= {"shop/web:http", "monitoring/statsd"}
