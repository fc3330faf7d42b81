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
from pointsman.proxy.socket import claim
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


GONE = flow("192.0.2.1:53", at="10.2.0.7:53")


def kind(known, **options):
    return judge_of(known, **options).judge(GONE).kind


def test_pain_10_what_a_running_agent_noted_as_served_is_not_gone_because_it_does_not_want_it_yet(tmp_path):
    """It has not read everything, or it has just been told of a new Service."""
    live = structs.replace(known(tmp_path), view=None)
    served, buried = (Entry(V4, UDP, "192.0.2.1", 53, "shop/dns", gone) for gone in (0.0, 100.0))
    notebook.write(notebook.beside(live.socket), Notebook("n1", (served,)))
    assert kind(live) is FlowClass.FOREIGN
    assert kind(known(tmp_path)) is FlowClass.STALE_FRONTEND
    assert kind(known(tmp_path), deletes=True) is FlowClass.FOREIGN
    notebook.write(notebook.beside(live.socket), Notebook("n1", (buried,)))
    assert kind(live) is kind(known(tmp_path), deletes=True) is FlowClass.STALE_FRONTEND


def test_pain_10_what_a_running_agent_serves_is_not_gone_because_a_folder_does_not_hold_it(tmp_path):
    served, buried = (Entry(V4, UDP, "192.0.2.1", 53, "shop/dns", gone) for gone in (0.0, 100.0))
    path = tmp_path / "n1.sock"
    beside = from_snapshot(Config(hostname_override="n1", manifests="m", socket=str(path)), snapshot([], []), HOST)
    notebook.write(notebook.beside(str(path)), Notebook("n1", (served,)))
    assert kind(beside) is FlowClass.STALE_FRONTEND
    with claim(str(path)):
        assert kind(beside) is FlowClass.FOREIGN
        notebook.write(notebook.beside(str(path)), Notebook("n1", (buried,)))
        assert kind(beside) is FlowClass.STALE_FRONTEND


def test_pain_10_a_folder_may_hold_a_part_of_the_cluster_only(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "read", lambda *_: Notebook("n1", (Entry(V4, UDP, "192.0.2.1", 53, "shop/dns", 100.0),)))

    def beside(**settings):
        return from_snapshot(Config(hostname_override="n1", manifests="m", **settings), snapshot([], []), HOST)

    assert kind(beside()) is FlowClass.FOREIGN
    assert kind(beside(socket="/run/n1.sock")) is FlowClass.STALE_FRONTEND
    assert kind(beside(socket="/run/n1.sock"), deletes=True) is FlowClass.FOREIGN


def test_flows_of_another_proxys_services_are_foreign_and_named(tmp_path):
    other = service("dns", "10.96.0.200")
    other = structs.replace(other, metadata=structs.replace(other.metadata, labels=Labels(service_proxy_name="other")))
    found = judge_of(known(tmp_path, other)).judge(flow("10.96.0.200:53", at="10.2.0.77:53"))
    assert found.kind is FlowClass.FOREIGN
    assert "shop/dns" in found.reason
