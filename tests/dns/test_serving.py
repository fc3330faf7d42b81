"""What answers in a process: catalog, Corefile, desks, reloads."""

import asyncio
import logging
import socket
import time

import dns.message
import dns.query
import pytest
from fakes.dns_cluster import service, snapshot_of
from fakes.dns_process import COREFILE
from pointsman.dns.corefile.options import CacheOptions
from pointsman.dns.feed import OTHER, Change, Listener, Start
from pointsman.dns.journal import Journal
from pointsman.dns.plugins.store import BYTES_PER_ENTRY
from pointsman.dns.serving import PROGRAMMING, RELOAD_VERSION, Serving, UnusableError

PLUGINS = """
.:53 {
    errors
    health
    prometheus
    bufsize 1232
    cache
    whoami
}
example.org:53 example.net:5300 {
    local
}
"""


def silent(level, text):
    """Say nothing."""


def start_of(tmp_path, corefile=COREFILE, listeners=(), **options):
    path = tmp_path / "Corefile"
    path.write_text(corefile)
    return Start(listeners, str(path), **{"everywhere": True, **options})


@pytest.fixture
def sock():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    yield made
    made.close()


def listener(sock, key_port=53):
    return Listener(sock.detach() if key_port < 0 else sock.dup().detach(), "udp", "127.0.0.1", sock.getsockname()[1], key_port)


async def test_rec_111_the_patience_is_the_corefiles_and_needs_a_cluster(tmp_path):
    assert Serving(start_of(tmp_path), silent).patience == 60.0
    assert Serving(start_of(tmp_path, cluster=False), silent).patience == 0.0
    assert Serving(start_of(tmp_path, ". {\n    whoami\n}\n"), silent).patience == 0.0


async def test_all_findings_are_told_at_once(tmp_path):
    with pytest.raises(UnusableError) as error:
        Serving(start_of(tmp_path, ". {\n    one\n    two\n}\n"), silent)
    assert str(error.value).count("Corefile:") == 2


async def test_a_listener_without_a_block_is_told(tmp_path, sock):
    serving = Serving(start_of(tmp_path, listeners=(listener(sock, 54),), everywhere=False), silent)
    with pytest.raises(UnusableError, match="port 54"):
        await serving.open()


async def test_what_is_kept_of_answers_is_bounded_whatever_is_asked(tmp_path, sock):
    """All sockets share one room, and a cache with its default capacity has its own: 23 MiB beside what is known of the cluster."""
    serving = Serving(start_of(tmp_path, ".:53 {\n    cache\n    whoami\n}\n", listeners=(listener(sock), listener(sock))), silent)
    await serving.open()
    [room] = {desk.hot._room for _, desk in serving.desks}
    assert room.tables == [desk.hot for _, desk in serving.desks]
    options = serving.corefile.one(CacheOptions)
    entries = options.success.capacity + options.denial.capacity
    assert (len(room.tables), entries) == (2, 2 * 9984)
    assert room.limit + entries * BYTES_PER_ENTRY < 23 << 20
    await serving.close()


async def test_changes_withdraw_what_rests_on_them(tmp_path, sock):
    serving = Serving(start_of(tmp_path, listeners=(listener(sock),)), silent)
    for news in Journal().whole(snapshot_of(service("web", "10.96.0.1"), service("api", "10.96.0.2")), 1.0):
        serving.apply(news)
    await serving.open()
    desk = serving.desks[0][1]
    for name in ("web", "api") * 2:
        message = dns.message.make_query(f"{name}.shop.svc.cluster.local", "A", id=1).to_wire()
        assert desk.take(message, ("127.0.0.1", 1), ("127.0.0.1", 53), silent, udp=True)
    assert len(desk.hot.entries) == 2
    serving.apply(Change(services_gone=(("shop", "web"),)))
    assert len(desk.hot.entries) == 1
    serving.forget()
    assert not desk.hot.entries
    await serving.close()


async def test_clients_may_be_limited(tmp_path, sock):
    serving = Serving(start_of(tmp_path, listeners=(listener(sock),), client_rate=1.0), silent)
    await serving.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(10):
            client.sendto(dns.message.make_query("x.cluster.local", "A").to_wire(), sock.getsockname())
    async with asyncio.timeout(60):
        while serving.tally.cell("pointsman_dns_rate_limited_total")[0] < 7:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    await serving.close()


async def test_obs_50_the_same_content_is_not_loaded_again(tmp_path, sock):
    start = start_of(tmp_path, listeners=(listener(sock),), everywhere=False)
    serving = Serving(start, silent)
    await serving.open()
    assert serving.desks[0][1].denials is not None
    assert not serving.reload()
    (tmp_path / "Corefile").write_text(COREFILE.replace("pods insecure", "pods disabled"))
    assert serving.reload()
    assert not serving.reload()
    (tmp_path / "Corefile").write_text(COREFILE.replace(":53", ":54"))
    assert not serving.reload()
    version = [sample.labels for sample in serving.samples() if sample.metric == RELOAD_VERSION]
    (tmp_path / "Corefile").unlink()
    assert not serving.reload()
    assert [sample.labels for sample in serving.samples() if sample.metric == RELOAD_VERSION] == version  # of what is in force
    samples = {sample.metric: sample for sample in serving.samples()}
    assert samples["coredns_reload_failed_total"].values == (1,)
    assert samples["coredns_reload_version_info"].labels[0] == "sha512"
    await serving.close()


UNMADE = """
.:53 {
    errors
    forward . tls://127.0.0.1 {
        tls /nonexistent/ca.pem
    }
}
"""


async def test_obs_50_a_corefile_whose_plugins_cannot_be_made_is_not_taken_over(tmp_path, sock, caplog):
    serving = Serving(start_of(tmp_path, listeners=(listener(sock),), everywhere=False), silent)
    await serving.open()
    (tmp_path / "Corefile").write_text(UNMADE)
    assert not serving.reload()
    assert "Corefile:4: forward cannot be set up: No such file or directory; the former configuration stays at work" in caplog.text
    for content in (UNMADE, ".:53 {\n  nonsense\n}\n"):  # told once, however often it is looked at
        (tmp_path / "Corefile").write_text(content)
        assert not serving.reload()
        assert not serving.reload()
    assert serving.tally.cell("coredns_reload_failed_total")[0] == 2
    assert not serving.reload(asked=True)
    assert serving.tally.cell("coredns_reload_failed_total")[0] == 3
    (tmp_path / "Corefile").write_text(COREFILE.replace("pods insecure", "pods disabled"))
    assert serving.reload()
    await serving.close()


def refusal(serving):
    return serving.refusal(serving.reader.read().fingerprint)


async def test_obs_50_an_empty_corefile_is_one_that_is_just_being_written(tmp_path, sock, caplog):
    """Editors and copies truncate first: the default of an empty Corefile, whoami for everything, would take DNS down."""
    serving = Serving(start_of(tmp_path, listeners=(listener(sock),), everywhere=False), silent)
    await serving.open()
    chain = serving.desks[0][1].chain
    for content in ("", "# nothing\n", "\n"):
        (tmp_path / "Corefile").write_text(content)
        assert not serving.reload()
        assert refusal(serving)[0] == "error"
        assert serving.desks[0][1].chain is chain
    assert "Corefile:1 - Error during parsing: there is no server block: " in caplog.text
    assert serving.tally.cell("coredns_reload_failed_total")[0] == 1
    (tmp_path / "Corefile").write_text(COREFILE.replace("pods insecure", "pods disabled"))
    assert refusal(serving) == ()
    assert serving.refusal("of what it said before") == (OTHER, "")
    assert serving.reload()
    (tmp_path / "Corefile").write_text(UNMADE)
    assert refusal(serving)[1].endswith("Corefile:4: forward cannot be set up: No such file or directory")
    await serving.close()


async def test_obs_50_a_corefile_that_needs_more_than_is_read_is_not_taken_over(tmp_path, sock, caplog):
    reads = {"kubernetes": "", "labels": "", "namespace_labels": "", "kubeconfig": "", "endpoint": ""}
    start = start_of(tmp_path, listeners=(listener(sock),), everywhere=False, reads=reads)
    serving = Serving(start, silent)
    await serving.open()
    chain = serving.desks[0][1].chain
    (tmp_path / "Corefile").write_text(COREFILE.replace("pods insecure", "pods verified"))
    with caplog.at_level(logging.INFO):
        assert not serving.reload()
    assert "Corefile:3: `pods verified` needs more of the cluster" in caplog.text
    assert serving.tally.cell("coredns_reload_failed_total")[0] == 0
    assert serving.desks[0][1].chain is chain
    await serving.close()


async def test_a_start_with_a_corefile_that_needs_more_than_is_read_is_refused(tmp_path):
    with pytest.raises(UnusableError, match="`kubernetes` needs more of the cluster"):
        Serving(start_of(tmp_path, reads={}), silent)


async def test_a_start_with_a_plugin_that_cannot_be_made_is_told_with_its_place(tmp_path):
    with pytest.raises(UnusableError, match="Corefile:4: forward cannot be set up: No such file"):
        Serving(start_of(tmp_path, UNMADE), silent)


async def test_obs_09_plugins_are_told_by_listener_and_zone_as_the_corefile_in_force_has_them(tmp_path, sock):
    serving = Serving(start_of(tmp_path, PLUGINS, listeners=(listener(sock),), everywhere=False), silent)
    await serving.open()
    told = [sample.labels for sample in serving.samples() if sample.metric == "coredns_plugin_enabled"]
    assert sorted(told) == sorted(
        ("dns://:53", zone, "", name)
        for zone, names in ((".", ("prometheus", "errors", "bufsize", "cache", "whoami")), ("example.org.", ("local",)))
        for name in names
    )
    (tmp_path / "Corefile").write_text("x:53 {\n    whoami\n}\n")
    assert serving.reload()
    told = [sample.labels for sample in serving.samples() if sample.metric == "coredns_plugin_enabled"]
    assert told == [("dns://:53", "x.", "", "whoami")]
    await serving.close()


@pytest.mark.parametrize(("worker", "counted"), [(0, 2), (1, 0)])
async def test_obs_17_how_long_a_change_took_is_counted_when_it_is_in_force_by_one_worker(tmp_path, worker, counted):
    serving = Serving(start_of(tmp_path, worker=worker), silent)
    now = time.time()
    serving.apply(Change(triggered=(now - 3.0, now + 3600.0)))  # the latter by a clock that is ahead
    found = [one for one in serving.samples() if one.metric == PROGRAMMING]
    assert sum(sum(one.values[:-1]) for one in found) == counted
    for one in found:
        assert one.labels == ("headless_with_selector",)
        assert one.bounds[:2] == (0.001, 0.002)
        assert len(one.bounds) == 20
        assert one.values[0] == 1
        assert one.values[-1] >= 3.0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_obs_01_clients_of_a_socket_for_both_families_are_counted_by_their_own(tmp_path, transport):
    """An IPv4 client of a listener on all addresses is one of IPv4: in the chain, and in every count, also from the hot table."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    made = socket.socket(socket.AF_INET6, kind)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", 0))
    port = made.getsockname()[1]
    places = (Listener(made.detach(), transport, "::", port, 53),)
    serving = Serving(start_of(tmp_path, ".:53 {\n local\n whoami\n}\n", listeners=places, everywhere=False), silent)
    await serving.open()

    def ask(host, name):
        question = dns.message.make_query(name, "A")
        return dns.query.udp(question, host, 60, port) if transport == "udp" else dns.query.tcp(question, host, 60, port)

    try:
        reply = await asyncio.to_thread(ask, "127.0.0.1", "a.example")
        assert str(reply.additional[0][0]) == "127.0.0.1"
        for host in ("127.0.0.1", "127.0.0.1", "::1"):
            assert (await asyncio.to_thread(ask, host, "localhost")).answer
    finally:
        await serving.close()
    requests = [one for one in serving.samples() if one.metric == "coredns_dns_requests_total"]
    assert {family: sum(one.values[0] for one in requests if one.labels[4] == family) for family in "12"} == {"1": 3, "2": 1}
