"""The process: what it says, when it answers, how it ends."""

import asyncio
import contextlib
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import dns.message
import msgspec
import pytest
from fakes.chains import Upstream, address
from fakes.dns_cluster import endpoint, endpoint_slice, outcome, service, snapshot_of
from fakes.dns_process import COREFILE, Running
from pointsman.dns import feed, resolver
from pointsman.dns.feed import Change, Done, Failed, Ready, Reload
from pointsman.dns.journal import Journal, fact_of
from pointsman.dns.resolver import main
from pointsman.routing.snapshot import ServiceKey

OBJECTS = (service("web", "10.96.0.1"), service("db", "None"), endpoint_slice("db", endpoint("10.0.0.1"), endpoint("10.0.0.2")))
WEB = "web.shop.svc.cluster.local"
LIST = list(Journal().whole(snapshot_of(*OBJECTS), 1_700_000_000.0))


@pytest.fixture
def running(tmp_path):
    with Running(tmp_path) as process:
        process.tell(*LIST)
        assert process.hear() == Ready(synced=True)
        yield process


def test_it_answers_over_udp_and_tcp_until_sigterm(running):
    assert outcome(running.ask(WEB)) == ["A 10.96.0.1"]
    assert outcome(running.ask(WEB, tcp=True)) == ["A 10.96.0.1"]
    assert outcome(running.ask("no.shop.svc.cluster.local")) == "NXDOMAIN"
    running.process.send_signal(signal.SIGTERM)
    assert running.ended()[0] == 0


def test_a_change_is_in_force_when_it_is_done(running):
    for _ in range(3):
        assert outcome(running.ask("new.shop.svc.cluster.local")) == "NXDOMAIN"
    fact = fact_of(snapshot_of(service("new", "10.96.0.9")), ServiceKey("shop", "new"))
    running.tell(Change(services=(fact,), mark=1))
    assert running.hear() == Done(1)
    for _ in range(3):
        assert outcome(running.ask("new.shop.svc.cluster.local")) == ["A 10.96.0.9"]
    running.tell(Change(services_gone=(("shop", "new"),), mark=2))
    assert running.hear() == Done(2)
    assert outcome(running.ask("new.shop.svc.cluster.local")) == "NXDOMAIN"


def test_a_repeated_list_makes_no_hole(running):
    running.tell(*LIST[:-1])
    assert outcome(running.ask(WEB)) == ["A 10.96.0.1"]
    running.tell(LIST[-1], Change(mark=3))
    assert running.hear() == Done(3)
    assert outcome(running.ask(WEB)) == ["A 10.96.0.1"]


def test_it_tells_its_counters_its_top_and_why(running):
    for _ in range(5):
        running.ask(WEB)
    samples = {(sample.metric, sample.labels): sample.values[0] for sample in running.told("stats").samples}
    assert samples["coredns_dns_requests_total", ("dns://:53", ".", "", "udp", "1", "A")] == 5
    assert running.told("top").rows[0] == (f"{WEB}.", "5")
    rows = dict(running.told("explain", WEB, "A").rows)
    assert rows["service"].startswith("shop/web: cluster IP")
    assert "this resolver does not know" in dict(running.told("nonsense").rows)["error"]


def test_obs_50_a_new_corefile_is_taken_and_a_broken_one_is_not(running):
    running.path.write_text(COREFILE.replace("pods insecure", "ttl 77"))
    running.tell(Reload(), Change(mark=1))
    assert running.hear() == Done(1)
    assert running.ask(WEB).answer[0].ttl == 77
    running.path.write_text(COREFILE.replace("pods", "nonsense"))
    running.tell(Reload(), Change(mark=2))
    assert running.hear() == Done(2)
    assert running.ask(WEB).answer[0].ttl == 77
    samples = {sample.metric: sample.values[0] for sample in running.told("stats").samples}
    assert samples["coredns_reload_failed_total"] == 1


def test_it_ends_when_the_agent_is_gone(running):
    running.line.shutdown(2)
    assert running.ended()[0] == 0


def test_it_ends_when_the_agent_was_killed_before_it_heard_everything(running):
    """What lies unread in the agent's socket makes the end of the line an error instead of an end."""
    running.tell(feed.Ask(1, "stats"))
    with selectors.DefaultSelector() as selector:
        selector.register(running.line, selectors.EVENT_READ)
        assert selector.select(60)
    running.line.close()
    assert running.ended()[0] == 0


def test_it_ends_when_the_agent_says_what_cannot_be(running):
    running.line.sendall(b"\xff" * 4)
    status, said = running.ended()
    assert status == 0
    assert "this is not the resolver's feed" in said


def test_it_may_outlive_the_agent(tmp_path):
    with Running(tmp_path, linger=600.0) as process:
        process.tell(*LIST)
        process.hear()
        process.line.close()
        assert outcome(process.ask(WEB)) == ["A 10.96.0.1"]
        time.sleep(0.1)
        assert outcome(process.ask(WEB)) == ["A 10.96.0.1"]
        process.process.send_signal(signal.SIGTERM)
        code, said = process.ended()
        assert code == 0
        assert "the agent is gone" in said


async def test_pain_77_a_storm_of_search_paths_never_reaches_the_upstream(tmp_path):
    """Each walk of ndots:5 is denied from memory at every step, in the namespace that the name itself says; the upstream hears the end."""
    objects = (service("web", "10.96.0.1"), service("cart", "10.96.0.2", namespace="pay"))
    async with Upstream(address("198.51.100.7", ttl=3600)) as upstream:
        corefile = COREFILE.replace("loadbalance", f"cache 3600\n    forward . 127.0.0.1:{upstream.port}\n    loadbalance")
        with Running(tmp_path, corefile) as process:
            process.tell(*Journal().whole(snapshot_of(*objects, namespaces=("shop", "pay")), 1_700_000_000.0))
            process.hear()

            async def walk(name, namespace):
                """Return what becomes of each step, until one answers."""
                found = []
                for suffix in (f".{namespace}.svc.cluster.local", ".svc.cluster.local", ".cluster.local", ""):
                    found.append(outcome(await asyncio.to_thread(process.ask, name + suffix)))
                    if found[-1] != "NXDOMAIN":
                        break
                return found

            for namespace in ("shop", "pay"):
                for _ in range(25):
                    assert await walk("www.example.com", namespace) == [*["NXDOMAIN"] * 3, ["A 198.51.100.7"]]
            assert await walk("web", "shop") == [["A 10.96.0.1"]]
            assert (await walk("cart", "shop"))[:3] == ["NXDOMAIN"] * 3  # it is another namespace's
            assert await walk("cart.pay", "shop") == ["NXDOMAIN", ["A 10.96.0.2"]]
        asked = [str(message.question[0].name) for _, message in upstream.asked]
    assert set(asked) == {"www.example.com.", "cart."}
    assert asked.count("www.example.com.") <= 2  # of 50 walks with 200 steps


def test_it_outlives_the_agent_for_the_time_that_it_was_told_only(tmp_path):
    with Running(tmp_path, linger=0.2) as process:
        process.tell(*LIST)
        process.hear()
        process.line.close()
        code, said = process.ended()
    assert code == 0
    assert "served for 0.2 s" in said


def test_rec_111_it_does_not_wait_for_ever(tmp_path):
    with Running(tmp_path, COREFILE.replace("startup_timeout 60s", "startup_timeout 100ms")) as process:
        assert process.hear() == Ready(synced=False)
        assert outcome(process.ask("no.shop.svc.cluster.local")) == "SERVFAIL"
        process.tell(*LIST, Change(mark=1))
        assert process.hear() == Done(1)
        assert outcome(process.ask("no.shop.svc.cluster.local")) == "NXDOMAIN"
        process.process.send_signal(signal.SIGTERM)
        assert "starting server with unsynced Kubernetes API" in process.ended()[1]


def test_a_corefile_that_cannot_be_used_is_told(tmp_path):
    with Running(tmp_path, ". {\n    nonsense\n}\n") as process:
        said = process.hear()
        assert isinstance(said, Failed)
        assert "Corefile:2" in said.text
        assert process.ended()[0] == 1


def test_without_a_cluster_nothing_is_waited_for(tmp_path):
    with Running(tmp_path, ". {\n    whoami\n}\n") as process:
        assert process.hear() == Ready(synced=False)


def test_what_is_not_understood_is_passed_over(running):
    running.line.sendall(b"\x00\x00\x00\x01\xc1")
    assert outcome(running.ask(WEB)) == ["A 10.96.0.1"]


def test_wrong_arguments_say_who_starts_this(capsys):
    assert main([]) == main(["--feed", "x"]) == 2
    assert "pointsman dns serve" in capsys.readouterr().err
    ran = subprocess.run([sys.executable, "-P", "-m", "pointsman.dns.resolver"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2


def test_ten_thousand_connections_are_held_and_served(tmp_path):
    """Each is idle but open; a query on the last and one over UDP are answered, and all can be closed at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = min(10_000, (65_536 if hard == resource.RLIM_INFINITY else hard) - 1_000)
    patient = ". {\n    timeouts {\n        read 10m\n        idle 10m\n    }\n    whoami\n}\n"
    with Running(tmp_path, patient) as process, contextlib.ExitStack() as stack:
        process.hear()
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=60)) for _ in range(number)]
        message = dns.message.make_query("example.com", "A", id=5).to_wire()
        for client in (held[0], held[-1]):
            client.sendall(len(message).to_bytes(2, "big") + message)
            assert client.recv(65535)[2:4] == message[:2]
        assert process.ask("example.com", "TXT")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_what_breaks_while_a_name_is_explained_is_told_to_who_asks(monkeypatch):
    async def broken(*args):
        raise KeyError("planted")

    monkeypatch.setattr(resolver, "explain", broken)
    said = []
    writer = SimpleNamespace(is_closing=lambda: False, write=lambda data: said.extend(feed.Unframer().bodies(data)))
    process = resolver.Process(feed.Start((), ""), writer, SimpleNamespace(corefile=SimpleNamespace(all=lambda kind: ())))
    process.hear(msgspec.msgpack.encode(feed.Ask(7, "explain", "web", "A", "")))
    async with asyncio.timeout(60):
        while not said:  # noqa: ASYNC110 - the process tells its agent only
            await asyncio.sleep(0.01)
    answer = feed.for_agent(said[0])
    assert answer.id == 7
    assert "the resolver failed over this name: KeyError: 'planted'" in answer.rows[0][1]
