"""IPVS's servers and connections, joined with the names that an agent knows."""

import msgspec
from pointsman.ipvs.answers import Real, Virtual
from pointsman.ipvs.connections import Connection, Table
from pointsman.ipvs.ipvsadm import Listed
from pointsman.ipvs.names import mark_of
from pointsman.ipvs.objects import Counters, Load, RealKey, RealServer, ServerFlag, Statistics, VirtualKey, VirtualServer
from pointsman.ipvs.schedulers import PORT
from pointsman.proxy.cli.ipvs_report import Names, connections, names, servers
from pointsman.proxy.report import FrontendReport, ServicesReport, services_document
from pointsman.routing.route import Family, Protocol, ServicePortName

from ..views import small

PORTS = msgspec.json.decode(b"".join(services_document(small())), type=ServicesReport).service_ports
KNOWN = names(PORTS)
WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.10", 80)
STATISTICS = Statistics(Counters(3, 30, 20, 3000, 9000), Counters(1, 2, 3, 4, 5))


def listed(key: VirtualKey, server: VirtualServer = VirtualServer(), *reals: str) -> Listed:  # noqa: B008 - a frozen value
    behind = tuple(Real(RealKey(key, real, 8080), RealServer(2), Load(4, 5, 6), STATISTICS) for real in reals)
    return Listed(Virtual(key, server, STATISTICS), behind)


def test_services_and_pods_are_named() -> None:
    (row,) = servers([listed(WEB, VirtualServer(), "10.244.1.1", "10.244.9.9")], KNOWN).virtual_servers
    assert row.service == "shop/web:http"
    assert [(real.pod, real.weight, real.active, real.inactive, real.persistent) for real in row.reals] == [
        ("pod-10.244.1.1", 2, 4, 5, 6),
        ("", 2, 4, 5, 6),
    ]
    assert row.total == row.reals[0].total == Counters(3, 30, 20, 3000, 9000)


def test_a_node_port_is_named_at_every_address_of_its_family() -> None:
    web = next(one for one in PORTS if one.service == "web")
    known = names([msgspec.structs.replace(web, frontends=(FrontendReport("node port", "", 30080),))])
    assert known.of_address("TCP", "192.168.50.1", 30080) == "shop/web:http"
    assert known.of_address("TCP", "fd00::77", 30080) == ""
    assert known.of_address("UDP", "192.168.50.1", 30080) == ""


def test_an_address_comes_before_a_node_port() -> None:
    """A cluster IP's port may lie within the range of node ports (pain 26)."""
    known = Names({("TCP", "10.96.0.1", 30080): "a/clusterip"}, {("TCP", "IPv4", 30080): "b/nodeport"})
    assert known.of_address("TCP", "10.96.0.1", 30080) == "a/clusterip"
    assert known.of_address("TCP", "10.0.0.1", 30080) == "b/nodeport"


def test_a_mark_is_named_within_its_family() -> None:
    known = Names(marks={("IPv4", 7): "shop/web"})
    assert known.service(VirtualKey(Family.IPV4, mark=7)) == "shop/web"
    assert known.service(VirtualKey(Family.IPV6, mark=7)) == ""


def test_the_marks_of_the_mode_are_named_with_and_without_a_node_port() -> None:
    web = next(one for one in PORTS if one.service == "web")
    port_name = ServicePortName("shop", "web", "http", Protocol.TCP)
    assert KNOWN.service(VirtualKey(Family.IPV4, mark=mark_of(port_name, 0))) == "shop/web:http"
    known = names([msgspec.structs.replace(web, frontends=(*web.frontends, FrontendReport("node port", "", 30080)))])
    assert known.service(VirtualKey(Family.IPV4, mark=mark_of(port_name, 30080))) == "shop/web:http"
    assert known.service(VirtualKey(Family.IPV4, mark=mark_of(port_name, 0))) == ""


def test_named_services_come_first_and_in_order() -> None:
    foreign = VirtualKey(Family.IPV4, Protocol.TCP, "192.0.2.1", 443)
    api = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.11", 80)
    report = servers([listed(foreign), listed(WEB), listed(api)], KNOWN)
    assert [row.service for row in report.virtual_servers] == ["shop/api:http", "shop/web:http", ""]


def test_one_service_is_picked_out_whole_names_only() -> None:
    keys = [WEB, VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.11", 80)]
    assert [row.address for row in servers(map(listed, keys), KNOWN, "shop/web").virtual_servers] == ["10.96.0.10"]
    assert servers(map(listed, keys), KNOWN, "shop/we").virtual_servers == ()


def test_options_are_told_in_words() -> None:
    server = VirtualServer("mh", ServerFlag.PERSISTENT | ServerFlag.ONE_PACKET | PORT, 60)
    (row,) = servers([listed(WEB, server)], None).virtual_servers
    assert (row.scheduler, row.scheduler_flags, row.persistence_seconds, row.one_packet) == ("mh", ("mh-port",), 60, True)
    (row,) = servers([listed(WEB, VirtualServer("rr", ServerFlag.NONE, 60))], None).virtual_servers
    assert row.persistence_seconds == 0, "a timeout without the flag does nothing"


def test_connections_are_named() -> None:
    one = Connection("TCP", "10.0.0.1", 50000, "10.96.0.10", 80, "10.244.1.1", 8080, "ESTABLISHED", 890)
    other = Connection("TCP", "10.0.0.1", 0, "192.0.2.1", 443, "10.9.9.9", 443, "ASSURED", 60)
    report = connections(Table((one, other), 2), KNOWN)
    assert [(row.service, row.pod, row.template) for row in report.connections] == [
        ("shop/web:http", "pod-10.244.1.1", False),
        ("", "", True),
    ]
    assert report.unreadable == 2
    assert len(connections(Table((one, other), 0), KNOWN, "shop/web").connections) == 1


def test_the_documents_say_whether_names_are_known_and_are_camel_case() -> None:
    document = msgspec.json.decode(msgspec.json.encode(servers([listed(WEB, VirtualServer(), "10.244.1.1")], None)))
    assert (document["named"], document["schema"]) == (False, "pointsman/v1")
    assert document["virtualServers"][0]["reals"][0]["total"]["packetsIn"] == 30
    assert msgspec.json.decode(msgspec.json.encode(servers([], KNOWN)))["named"] is True
