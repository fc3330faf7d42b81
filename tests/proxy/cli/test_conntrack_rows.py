"""Flows with names, picked out and added up."""

import json

import pytest
from fakes.flows import NODE, V4, V6, backend, flow, judge, route
from msgspec.structs import replace
from pointsman.conntrack.classify import FlowClass
from pointsman.conntrack.flow import Counters, Status
from pointsman.proxy.cli import conntrack_rows as rows
from pointsman.proxy.cli.conntrack_rows import Choice, Totals
from pointsman.proxy.config import Config
from pointsman.proxy.picture import KnownPod, KnownService, Picture

DNS = route(ends=(backend("10.2.0.7", "dns-1"),))
PICTURE = Picture(
    "v1", "0", "iptables", "legacy", Config(), NODE, 1, (), (), (),
    nodes={"n2": ("172.20.0.2", "fd00:20::2", "n2.example")},
    cluster_ips={V4: ("10.96.0.10",), V6: ()},
    services=(
        KnownService("shop", "dns", cluster_ips=("10.96.0.10",)),
        KnownService("mesh", "web", cluster_ips=("10.96.0.99",)),
        KnownService("shop", "headless", cluster_ips=("None",)),
        KnownService("shop", "away", "ExternalName", external_name="example.org"),
    ),
    pods=(KnownPod("shop", "client", ("10.5.0.1",)), KnownPod("kube-system", "host", ("172.20.0.2",))),
    routes=(DNS,),
)  # fmt: skip
NAMES = rows.names(PICTURE)


def made(one, names=NAMES):
    made = judge(DNS, names=names)
    return rows.row(one, made.judge(one), names.of)


def test_names_come_from_pods_nodes_and_services_of_other_proxies():
    assert NAMES.of("10.5.0.1") == "pod shop/client"
    assert NAMES.of("172.20.0.2") == "node n2", "an address of a node is no pod's"
    assert NAMES.of("172.20.0.1") == "node n1"
    assert NAMES.elsewhere("10.96.0.99") == "Service mesh/web"
    assert NAMES.elsewhere("None") == NAMES.elsewhere("10.96.0.10") == ""


def test_an_address_of_several_pods_is_nobodys():
    """Of other nodes most often nothing is known, so pods on their network share an address that nobody explains."""
    pods = (KnownPod("shop", "a", ("172.20.0.9", "10.5.0.7")), KnownPod("shop", "b", ("172.20.0.9",)), KnownPod("shop", "a", ("fd00::7",)))
    names = rows.names(replace(PICTURE, pods=pods))
    assert [names.of(one) for one in ("172.20.0.9", "10.5.0.7", "fd00::7")] == ["", "pod shop/a", "pod shop/a"]


def test_a_row_has_the_entry_and_the_names():
    one = made(replace(flow(back="172.20.0.1:4000"), sent=Counters(2, 200), returned=Counters(1, 100), mark=7))
    assert (one.client_name, one.backend_name) == ("pod shop/client", "pod shop/dns-1")
    assert (one.service, one.seen_as) == ("shop/dns", "172.20.0.1:4000")
    assert (one.packets, one.bytes, one.mark, one.flow_class) == (3, 300, 7, "ok")
    assert one.entry.startswith("udp      17 100 src=10.5.0.1")
    assert made(flow()).packets is None


def test_flags_are_conntracks_words():
    assert made(flow(status=Status.ASSURED | Status.OFFLOAD)).flags == ("UNREPLIED", "ASSURED", "OFFLOAD")


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (Choice(), True),
        (Choice(services=("shop/dns",)), True),
        (Choice(services=("shop/d",)), False),
        (Choice(services=("shop/other", "shop/dns")), True),
        (Choice(pods=("shop/dns-1",)), True),
        (Choice(pods=("shop/dns",)), False),
        (Choice(classes=frozenset({FlowClass.OK})), True),
        (Choice(classes=frozenset({FlowClass.CLASH})), False),
        (Choice(protocol="tcp"), False),
        (Choice(source="10.5.0.0/16"), True),
        (Choice(source="10.5.0.1:40000"), True),
        (Choice(source="pod shop/client"), True),
        (Choice(source="fd00::/8"), False),
        (Choice(source="nonsense"), False),
        (Choice(destination="10.96.0.10"), True),
        (Choice(destination="10.2.0.7:53"), True),
        (Choice(destination=":53"), True),
        (Choice(destination=":5"), False),
        (Choice(since=5.0), False),
    ],
)
def test_a_choice_wants_what_it_says(choice, wanted):
    assert choice.wants(made(flow())) is wanted
    assert choice.empty is (choice == Choice())


def test_a_named_port_belongs_to_its_service():
    one = replace(made(flow()), service="shop/dns:udp")
    assert Choice(services=("shop/dns",)).wants(one)
    assert Choice(services=("shop/dns:udp",)).wants(one)
    assert not Choice(services=("shop/dns:tcp",)).wants(one)


def test_since_wants_what_began_later():
    assert Choice(since=5.0).wants(replace(made(flow()), began=6.0))


def test_flows_that_go_together_stand_together():
    flows = [flow(client=f"10.5.0.{number}:1", to=to) for number, to in enumerate(["192.0.2.1:53", "10.96.0.10:53"] * 2)]
    found = rows.report([made(one) for one in flows], {FlowClass.OK: 4}, 1)
    assert [one.frontend for one in found.flows] == ["10.96.0.10:53"] * 2 + ["192.0.2.1:53"] * 2
    assert (found.classes, found.unreadable) == ({"ok": 4}, 1)


def test_totals_and_rates():
    def totals(*flows):
        found = Totals(judge(DNS, names=NAMES))
        for one in flows:
            found.add(one)
        return found

    old = replace(flow(), identity=1)
    new = [replace(flow(client=f"10.5.0.1:{port}"), identity=port) for port in (10, 11, 12, 13)]
    other = replace(flow("198.51.100.1:80", "198.51.100.1:80", "10.5.0.9:1"), identity=99)
    found = rows.top(totals(old), totals(old, *new, other), 2.0, 5)
    assert found.entries == 6
    assert [(one.name, one.entries, one.per_second, one.classes) for one in found.services] == [("shop/dns", 5, 2.0, {"ok": 5})]
    assert [(one.name, one.entries, one.per_second) for one in found.pods] == [("shop/client", 5, 2.0), ("shop/dns-1", 5, 2.0)]
    assert rows.top(None, totals(old), 0.0, 5).services[0].per_second is None


def test_an_event_is_one_line():
    text = rows.line("new", made(flow()))
    assert "\n" not in text
    assert json.loads(text)["flow"]["flowClass"] == "ok"
