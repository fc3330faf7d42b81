"""The tables of `pointsman ipvs`, as people see them."""

import io
from datetime import UTC, datetime, timedelta

from pointsman.ipvs.connections import Connection, Table
from pointsman.ipvs.objects import Counters, ServerFlag, VirtualKey, VirtualServer
from pointsman.proxy.cli import ipvs_table
from pointsman.proxy.cli.ipvs_report import connections, servers
from pointsman.proxy.drained import DrainedReport, DrainReport
from pointsman.routing.route import Family
from rich.console import Console

from .test_ipvs_report import KNOWN, WEB, listed


def drawn(show, report, **options) -> str:  # type: ignore[no-untyped-def]
    out = io.StringIO()
    show(report, Console(file=out, width=200, markup=False, emoji=False, highlight=False), **options)
    return out.getvalue()


def test_servers_are_listed_with_names_weights_and_connections() -> None:
    server = VirtualServer("wrr", ServerFlag.PERSISTENT, 60)
    text = drawn(ipvs_table.show_servers, servers([listed(WEB, server, "10.244.1.1")], KNOWN))
    heading, virtual, real = text.splitlines()
    assert heading.split() == ["VIRTUAL", "SERVER", "SERVICE", "SCHEDULER", "WEIGHT", "ACTIVE", "INACTIVE"]
    assert virtual.split() == ["TCP", "10.96.0.10:80", "shop/web:http", "wrr,", "persistent", "60", "s"]
    assert real.split() == ["->", "10.244.1.1:8080", "pod-10.244.1.1", "masquerade", "2", "4", "5"]


def test_a_virtual_server_with_nothing_behind_it_says_what_that_means() -> None:
    assert "none: refused" in drawn(ipvs_table.show_servers, servers([listed(WEB)], None))


def test_marks_and_ipv6_are_written_as_people_write_them() -> None:
    (row,) = servers([listed(VirtualKey(Family.IPV6, mark=0x60007530))], None).virtual_servers
    assert ipvs_table.virtual(row) == "mark 0x60007530 IPv6"


def test_traffic_is_total_or_per_second() -> None:
    report = servers([listed(WEB, VirtualServer(), "10.244.1.1")], KNOWN)
    total = drawn(ipvs_table.show_traffic, report, rate=False)
    assert "BYTES OUT " in total or total.splitlines()[0].endswith("BYTES OUT")
    assert total.splitlines()[1].split()[-5:] == ["3", "30", "20", "3,000", "9,000"]
    rate = drawn(ipvs_table.show_traffic, report, rate=True)
    assert "CONNECTIONS/s" in rate
    assert rate.splitlines()[2].split()[-5:] == ["1", "2", "3", "4", "5"]


def test_connections_and_what_persistence_remembers() -> None:
    one = Connection("TCP", "10.0.0.1", 50000, "10.96.0.10", 80, "10.244.1.1", 8080, "ESTABLISHED", 890)
    memory = Connection("TCP", "10.0.0.1", 0, "10.96.0.10", 80, "10.244.1.1", 8080, "ASSURED", 10800)
    text = drawn(ipvs_table.show_connections, connections(Table((one, memory), 1), KNOWN))
    expected = "TCP 10.0.0.1:50000 10.96.0.10:80 shop/web:http 10.244.1.1:8080 pod-10.244.1.1 ESTABLISHED 890"
    assert text.splitlines()[1].split() == expected.split()
    assert "10.0.0.1 (remembered)" in text
    assert "1 lines of the kernel's table could not be read" in text


def test_pain_23_what_drains_has_its_pod_its_service_and_its_end() -> None:
    begin = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    end = begin + timedelta(minutes=15)
    row = DrainedReport("IPv4", "10.244.1.1:8080", "web-1", "TCP 10.96.0.10:80", "shop/web:http", 3, 1, begin, end)
    heading, line = drawn(ipvs_table.show_drain, DrainReport("pointsman/v1", (row,))).splitlines()
    assert heading.split() == ["SERVER", "POD", "VIRTUAL", "SERVER", "SERVICE", "SINCE", "REMOVED", "BY", "ACTIVE", "INACTIVE"]
    assert line.split() == ["10.244.1.1:8080", "web-1", "TCP", "10.96.0.10:80", "shop/web:http", "03:04:05", "03:19:05", "3", "1"]


def test_nothing_is_said_too() -> None:
    assert drawn(ipvs_table.show_servers, servers([], None)) == "none\n"
    assert drawn(ipvs_table.show_drain, DrainReport("pointsman/v1", ())) == "nothing drains\n"


def test_counters_are_grouped_by_thousands() -> None:
    assert list(ipvs_table._numbers(Counters(bytes_in=1234567)))[3] == "1,234,567"
