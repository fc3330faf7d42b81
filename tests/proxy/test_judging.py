from fakes.flows import UDP, V4, flow
from msgspec import structs
from pointsman.conntrack.classify import FlowClass
from pointsman.conntrack.tombstones import Entry, Notebook
from pointsman.kube.objects import Labels
from pointsman.proxy import notebook
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host
from pointsman.proxy.judging import judge_of
from pointsman.proxy.known import from_snapshot
from pointsman.routing.route import Family

from .views import service, snapshot

HOST = Host("n1", {Family.IPV4: ("192.168.50.1",), Family.IPV6: ()})


def known(tmp_path, *services):
    found = from_snapshot(Config(hostname_override="n1"), snapshot(list(services), []), HOST)
    return structs.replace(found, socket=str(tmp_path / "a.sock"))


def test_pain_7_what_an_agent_served_is_known_from_its_notes(tmp_path):
    gone = flow("192.0.2.1:53", at="10.2.0.7:53")
    assert judge_of(known(tmp_path)).judge(gone).kind is FlowClass.FOREIGN
    notes = Notebook("n1", (Entry(V4, UDP, "192.0.2.1", 53, "shop/dns"),))
    notebook.write(notebook.beside(str(tmp_path / "a.sock")), notes)
    found = judge_of(known(tmp_path)).judge(gone)
    assert (found.kind, found.service) == (FlowClass.STALE_FRONTEND, "shop/dns")


def test_flows_of_another_proxys_services_are_foreign_and_named(tmp_path):
    other = service("dns", "10.96.0.200")
    other = structs.replace(other, metadata=structs.replace(other.metadata, labels=Labels(service_proxy_name="other")))
    found = judge_of(known(tmp_path, other)).judge(flow("10.96.0.200:53", at="10.2.0.77:53"))
    assert found.kind is FlowClass.FOREIGN
    assert "shop/dns" in found.reason
