"""Flows that outlive their endpoints, by real packets: who keeps a socket follows the Service, and nobody else's flow is touched.

Here is the flow side of the traps of stale connection tracking (docs: pains 1 to 10, 83, 85); `test_pains` has the rule side.
"""

import asyncio
import contextlib
import json
import re
import subprocess
from dataclasses import replace

import pytest
from pointsman.routing.route import Family, Protocol
from table_agent import write
from table_cases import sources, targets
from table_cluster import WORLD, cluster
from table_modes import MODES
from table_services import BY_NAME, Port, draining, manifests, ready, unready
from table_worlds import TOPOLOGY
from test_pains import PATIENCE_SECONDS, Sender

V4, V6 = Family.IPV4, Family.IPV6
TCP, UDP = Protocol.TCP, Protocol.UDP
pytestmark = pytest.mark.kernel
in_each_mode = pytest.mark.parametrize("mode", [mode.param() for mode in MODES])
PLAIN = BY_NAME["cc-both"]
STATSD = replace(PLAIN, name="statsd", ports=(Port(8125, UDP),), ends=ready("n1p1"))
QUEUE = replace(STATSD, name="queue", number=201, ends=ready("n1p2", "n2p2"))
WEB = replace(PLAIN, name="web", number=202, ends=ready("n1p1"))
POLL_SECONDS = 0.1
MANY = 2000
FOREIGN = (  # made by nobody here: to an unknown address, and to a port that is somebody's node port, at an address that is not this node's
    "-p udp -s 10.9.0.1 -d 10.9.0.2 --sport 1111 --dport 53 -r 10.9.0.3 -q 10.9.0.1 --reply-port-src 53 --reply-port-dst 1111 -t 3000",
    "-p udp -s 10.9.0.1 -d 10.9.0.2 --sport 1112 --dport {port} -r 10.9.0.3 -q 10.9.0.1 --reply-port-src 53 --reply-port-dst 1112 -t 3000",
    "-p udp -s 10.9.0.1 -d {vip} --sport 1113 --dport 9 -r {vip} -q 10.9.0.1 --reply-port-src 9 --reply-port-dst 1113 -t 3000",
)


@contextlib.asynccontextmanager
async def patient(mode, scratch, *configurations):
    """Build a cluster whose first node forgets no UDP flow by itself, however slow the machine is."""
    async with cluster(mode, scratch, *configurations) as made:
        made.lab.sysctl("n1", {f"net/netfilter/nf_conntrack_udp_timeout{which}": "3000" for which in ("", "_stream")})
        yield made


@contextlib.contextmanager
def clients(made, family, configuration, source="pod"):
    """Give one client per frontend of a Service, each with a socket that it keeps."""
    asked = sources(made.world, family)[source]
    found = {name: Sender(made.lab, asked, family, address, port) for name, address, port, _ in targets(WORLD, configuration, family)}
    try:
        yield found
    finally:
        for one in found.values():
            one.socket.close()


async def until(what, wanted, *facts):
    """Wait until something is so; fail with what it was last."""
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := await what()) != wanted:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(POLL_SECONDS)
            return
    raise AssertionError(f"{found} is not {wanted}: {facts}")


async def told(made, senders, wanted):
    """Wait until every client is told the same: by whom it is answered, or that it is refused."""
    for name, one in senders.items():
        await until(lambda one=one: one.ask(1.0), wanted, name, made.agent.log.read_text())


def entries(made, *arguments):
    """Return the identities of the node's entries that match."""
    done = subprocess.run(made.lab.command("n1", "conntrack", "-L", "-o", "id", *arguments), capture_output=True, text=True, check=True)
    return {int(found[1]) for line in done.stdout.splitlines() if (found := re.search(r" id=(\d+)", line))}


def plant(made, text):
    subprocess.run(made.lab.command("n1", "conntrack", "-I", *text.split()), capture_output=True, check=True)


@in_each_mode
async def test_a_udp_client_follows_its_service_through_every_frontend(mode, tmp_path):
    """Pains 1, 2, 3, 6 and 7: another endpoint, one that terminates, none, one again, and the end of the Service."""
    async with patient(mode, tmp_path, STATSD, QUEUE) as made, made.start():
        port, vip = QUEUE.node_port(QUEUE.ports[0]), QUEUE.cluster_ip(V4)
        drained = "n1p3" if mode.name == "ipvs" else "n2p1"  # who serves on keeps its flows, but IPVS ends UDP at once (IPVS-30)
        for text in FOREIGN:
            plant(made, text.format(port=port, vip=vip))
        with contextlib.ExitStack() as stack:
            mine = {family: stack.enter_context(clients(made, family, STATSD)) for family in Family}
            others = stack.enter_context(clients(made, V4, QUEUE, "outside"))
            answers = {name: await one.ask() for name, one in others.items()}
            kept = entries(made, "-p", "udp", "--orig-port-dst", "8125", "--orig-dst", vip)
            for family in Family:
                await told(made, mine[family], "n1p1")
            for ends, wanted in (
                (ready("n2p1"), "n2p1"),
                ((*draining("n2p1"), *ready("n1p3")), drained),
                (ready("n1p3"), "n1p3"),
                (unready("n1p3"), "refused"),
                (ready("n1p1"), "n1p1"),
                ((), "refused"),
                (ready("n2p2"), "n2p2"),
            ):
                await made.apply(replace(STATSD, ends=ends), QUEUE)
                for family in Family:
                    await told(made, mine[family], wanted)
            await made.apply(QUEUE)

            async def left():
                found = entries(made, "-p", "udp", "--orig-dst", STATSD.cluster_ip(V4))
                return found | entries(made, "-p", "udp", "--orig-dst", STATSD.external_ip(V4))

            await until(left, set(), made.agent.log.read_text())
            assert {name: await one.ask() for name, one in others.items()} == answers
            assert kept <= entries(made, "-p", "udp", "--orig-port-dst", "8125")
            assert len(entries(made, "-p", "udp", "--orig-src", "10.9.0.1")) == len(FOREIGN)


def annotated(configuration, **annotations):
    """Return manifests in which the Service has annotations of ours."""
    found = manifests([configuration], TOPOLOGY)
    for one in found:
        if one["kind"] == "Service":
            one["metadata"]["annotations"] = {f"pointsman.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return found


@pytest.mark.parametrize("mode", [mode.param() for mode in MODES if mode.name != "ipvs"])  # IPVS forgets UDP with its server (IPVS-30)
async def test_in_01_flows_of_a_service_that_another_proxy_was_given_go_on(mode, tmp_path):
    """Through every frontend, also a node port, though no rule leads there any more; those of a Service that went at the same time go."""
    async with patient(mode, tmp_path, STATSD, QUEUE) as made, made.start() as running:
        with contextlib.ExitStack() as stack:
            mine = stack.enter_context(clients(made, V4, STATSD))
            others = stack.enter_context(clients(made, V4, QUEUE, "outside"))
            await told(made, mine, "n1p1")
            for one in others.values():
                assert await one.ask() in {"n1p2", "n2p2"}
            given = manifests([STATSD], TOPOLOGY)
            for one in given:
                if one["kind"] == "Service":
                    one["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
            before = await running.in_sync()

            async def left():
                return entries(made, "-p", "udp", "--orig-dst", QUEUE.external_ip(V4))

            assert await left()
            write(made.folder, given)
            await running.in_sync(at_least=before + 1)
            await until(left, set(), running.log.read_text())
            await told(made, mine, "n1p1")


# --- restarts ----------------------------------------------------------------------------------------------------------


@in_each_mode
async def test_a_restart_does_not_forget_and_deletes_only_what_is_wrong(mode, tmp_path):
    """Pains 5, 7 and 8: while no agent runs, one Service goes, another changes its endpoint, a third stays as it is."""
    kept = replace(STATSD, name="kept", number=203)
    external = f"-p udp --orig-dst {STATSD.external_ip(V4)}"
    async with patient(mode, tmp_path, STATSD, QUEUE, kept) as made:
        with contextlib.ExitStack() as stack:
            mine = stack.enter_context(clients(made, V4, STATSD))
            moved = stack.enter_context(clients(made, V4, QUEUE, "outside"))
            others = stack.enter_context(clients(made, V4, kept, "node"))
            async with made.start():
                await told(made, mine, "n1p1")
                for one in moved.values():
                    assert await one.ask() in {"n1p2", "n2p2"}
                await told(made, others, "n1p1")
                notes = tmp_path / "n1.flows.json"
                await until(lambda: noted(notes), {"table/statsd", "table/queue", "table/kept"})
            assert entries(made, *external.split())
            before = entries(made, "-p", "udp", "--orig-dst", kept.cluster_ip(V4))
            made.write(replace(QUEUE, ends=ready("n2p3")), kept)
            async with made.start():

                async def left():
                    return entries(made, *external.split()) | entries(made, *f"-p udp --orig-dst {STATSD.cluster_ip(V4)}".split())

                await until(left, set(), made.agent.log.read_text())
                await told(made, moved, "n2p3")
                await told(made, others, "n1p1")
                assert before <= entries(made, "-p", "udp", "--orig-dst", kept.cluster_ip(V4))


async def noted(path):
    """Return the Services whose frontends stand in the agent's notes."""
    found = json.loads(path.read_text())["frontends"] if path.exists() else []
    return {one["service"] for one in found if one["service"].startswith("table/")}


# --- connections -------------------------------------------------------------------------------------------------------


@in_each_mode
async def test_pain_85_established_connections_are_kept_unless_the_service_says_otherwise(mode, tmp_path):
    cut = replace(WEB, name="cut", number=204, ends=ready("n2p1"))

    def write_all(ends):
        web, other = replace(WEB, ends=ends or ready("n1p1")), replace(cut, ends=ends or ready("n2p1"))
        write(made.folder, [*manifests([web], TOPOLOGY), *annotated(other, on_endpoint_removal="reset-after=1s")])

    async with patient(mode, tmp_path, WEB) as made:
        write_all(())
        async with made.start() as running:
            keeps = await made.lab.stream("n1p4", WEB.cluster_ip(V4), 80)
            ends = await made.lab.stream("n1p4", cut.cluster_ip(V4), 80)
            assert (keeps.answer.place, ends.answer.place) == ("n1p1", "n2p1")
            assert await ends.exchange()
            before = await running.in_sync()
            write_all(ready("n1p3"))
            await running.in_sync(at_least=before + 1)

            async def goes_on():
                return await ends.exchange()

            await until(goes_on, False, running.log.read_text())
            assert await keeps.exchange(), "a connection that was to be kept broke"


# --- thirteen hours in a minute ----------------------------------------------------------------------------------------


@in_each_mode
async def test_pain_6_thirteen_hours_of_a_busy_sender_and_no_endpoint(mode, tmp_path):
    """Thousands of datagrams keep every entry alive; once the endpoints are gone, none of them reaches the pod that was one."""
    async with patient(mode, tmp_path, STATSD) as made, made.start():
        with contextlib.ExitStack() as stack:
            mine = stack.enter_context(clients(made, V4, STATSD))
            await told(made, mine, "n1p1")
            await made.apply(replace(STATSD, ends=()))
            await told(made, mine, "refused")
            before = received(made, "n1p1")
            for turn in range(MANY):
                for one in mine.values():
                    with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
                        one.socket.send(b"?")
                if turn % 50 == 0:
                    await asyncio.sleep(0)
            assert received(made, "n1p1") == before
            await made.apply(replace(STATSD, ends=ready("n2p1")))
            await told(made, mine, "n2p1")


def received(made, place):
    """Return how many UDP datagrams a place has received, whoever sent them."""
    done = subprocess.run(made.lab.command(place, "cat", "/proc/net/snmp"), capture_output=True, text=True, check=True)
    heads, values = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("Udp:"))
    counted = dict(zip(heads, map(int, values), strict=True))
    return counted["InDatagrams"] + counted["NoPorts"] + counted["InErrors"]
