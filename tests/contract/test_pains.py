"""What users of service proxies suffered from (docs: pains), by real packets: each test is named after its trap.

Here are the traps that show in which packets go where while Services change: the rule side of stale flows (1 to 10), rules lost or gone
at a restart (42, 43), hairpin (35), policies, draining, affinity, source addresses and source ranges (44, 45, 53, 57 to 60).
"""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from pointsman.proxy.demo.lab import POD_PORT, Ending
from pointsman.proxy.demo.lab_servers import Answer
from pointsman.routing.packet import Verdict
from pointsman.routing.route import Family, Protocol
from table_cases import sources, targets
from table_cluster import WORLD, cluster
from table_modes import MODES
from table_run import ANSWER_SECONDS, SILENCE_SECONDS, most
from table_services import BY_NAME, Port, draining, ready, unready
from table_worlds import CLUSTER_CIDR, TOPOLOGY, World, _only

V4, V6 = Family.IPV4, Family.IPV6
TCP, UDP = Protocol.TCP, Protocol.UDP
pytestmark = pytest.mark.kernel
in_each_mode = pytest.mark.parametrize("mode", [mode.param() for mode in MODES])
in_each_family = pytest.mark.parametrize(
    ("mode", "family"), [mode.param(family, name=f"{mode}-{family.value}") for mode in MODES for family in mode.families]
)
NODE_IP = {family: TOPOLOGY.places["n1"].addresses[family] for family in Family}
PLAIN = BY_NAME["cc-both"]
STATSD = replace(PLAIN, name="statsd", ports=(Port(8125, UDP),))
OTHER = replace(PLAIN, name="other", number=200)
PATIENCE_SECONDS = 60.0  # far more than anything takes anywhere: what is tested is that it happens, and that nobody asked for it
ASKED_AT_LEAST = 10
AT_ONCE = 100
THREE = most((None,) * 3)  # so many connections meet each of three backends
SETTLED_SECONDS = 1.5  # a daemon that has just written waits before it writes again


class Sender:
    """A UDP client that keeps its socket, as statsd clients do: one flow for connection tracking."""

    def __init__(self, lab, source, family, destination, port):
        self.socket = lab.socket(source.place, family, socket.SOCK_DGRAM)
        self.socket.bind((source.address, 0))
        self.socket.connect((destination, port))

    async def ask(self, seconds=ANSWER_SECONDS):
        """Send a datagram; return who answered, `refused`, or `silence`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self.socket, b"?")
                return msgspec.json.decode(await loop.sock_recv(self.socket, 2048), type=Answer).place
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silence"


@contextlib.contextmanager
def sender(made, family, destination, port, source="pod"):
    one = Sender(made.lab, sources(made.world, family)[source], family, destination, port)
    try:
        yield one
    finally:
        one.socket.close()


@contextlib.asynccontextmanager
async def kept_asking(made, source, family, destination, port, protocol=TCP):
    """Open new connections all the while, one after the other; give the list of what became of them."""
    found = []

    async def go():
        while True:
            found.append(await made.ask(source, family, destination, port, protocol))
            await asyncio.sleep(0.002)

    task = asyncio.create_task(go())
    try:
        yield found
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < ASKED_AT_LEAST:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def met(made, source, family, destination, port, protocol, count):
    """Return who answered how many of some new connections; endings other than answers count by their name."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one():
        async with gate:
            return await made.ask(source, family, destination, port, protocol)

    results = await asyncio.gather(*(one() for _ in range(count)))
    return Counter(result.backend or result.ending.value for result in results)


def tracked(made, *arguments):
    """Return the node's connection-tracking entries that match."""
    done = subprocess.run(made.lab.command("n1", "conntrack", "-L", *arguments), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def wipe(made, scratch):
    """Destroy what the mode has programmed on the first node."""
    environment = {**os.environ, "XTABLES_LOCKFILE": str(scratch / "n1.lock")}
    for line in made.mode.wipe:
        subprocess.run(made.lab.command("n1", *line.split()), check=True, env=environment)


# --- stale flows: the rule side ----------------------------------------------------------------------------------------


@in_each_family
async def test_pain_1_no_new_flow_reaches_a_deleted_endpoint(mode, family, tmp_path):
    vip = STATSD.cluster_ip(family)
    async with cluster(mode, tmp_path, STATSD) as made, made.start():
        assert set(await met(made, "pod", family, vip, 8125, UDP, THREE)) == {"n1p1", "n1p2", "n2p1"}
        await made.apply(replace(STATSD, ends=ready("n1p2", "n2p1")))
        # From another address: a port that chance chose before would continue the flow of then.
        assert set(await met(made, "outside", family, vip, 8125, UDP, THREE)) == {"n1p2", "n2p1"}


@in_each_family
async def test_pain_2_a_busy_udp_client_is_served_once_there_are_endpoints(mode, family, tmp_path):
    """While there are none it is refused, so no entry without NAT can come to be that would outlive that time."""
    vip = STATSD.cluster_ip(family)
    async with cluster(mode, tmp_path, replace(STATSD, ends=())) as made, made.start():
        with sender(made, family, vip, 8125) as client:
            assert {await client.ask() for _ in range(5)} == {"refused"}
            assert tracked(made, "-p", "udp", "--orig-dst", vip) == []
            await made.apply(replace(STATSD, ends=ready("n2p1")))
            assert {await client.ask() for _ in range(5)} == {"n2p1"}


@in_each_family
async def test_pain_3_the_same_through_a_node_port_from_outside(mode, family, tmp_path):
    port = STATSD.node_port(STATSD.ports[0])
    async with cluster(mode, tmp_path, replace(STATSD, ends=())) as made, made.start():
        with sender(made, family, NODE_IP[family], port, "outside") as client:
            assert {await client.ask() for _ in range(5)} == {"refused"}
            assert tracked(made, "-p", "udp", "--orig-port-dst", str(port)) == []
            await made.apply(replace(STATSD, ends=ready("n1p1")))
            assert {await client.ask() for _ in range(5)} == {"n1p1"}


@in_each_mode
@pytest.mark.parametrize("protocol", [TCP, UDP])
async def test_pain_4_an_endpoint_is_replaced_without_a_gap(mode, protocol, tmp_path):
    """There is no moment at which a new connection meets half of a change and makes a bad entry."""
    service = replace(PLAIN, ports=(Port(80, protocol),))
    async with cluster(mode, tmp_path, replace(service, ends=ready("n1p1"))) as made, made.start():
        async with kept_asking(made, "pod", V4, service.cluster_ip(V4), 80, protocol) as found:
            for place, source in (("n2p1", "node"), ("n1p2", "second address"), ("n2p2", "outside"), ("n1p1", "stranger")):
                await made.apply(replace(service, ends=ready(place)))
                assert set(await met(made, source, V4, service.cluster_ip(V4), 80, protocol, 5)) == {place}
        assert {result.ending for result in found} == {Ending.ANSWERED}


@in_each_family
async def test_pain_16_a_removed_endpoint_gets_no_new_connection_and_keeps_the_old_ones(mode, family, tmp_path):
    vip = PLAIN.cluster_ip(family)
    async with cluster(mode, tmp_path, replace(PLAIN, ends=ready("n1p1", "n2p1"))) as made, made.start():
        stream = await made.lab.stream("n1p4", vip, 80)
        gone = stream.answer.place
        kept = next(place for place in ("n1p1", "n2p1") if place != gone)
        made.write(replace(PLAIN, ends=ready(kept)))
        assert await made.lab.last_hit("n1p3", vip, 80, TCP, gone, limit_seconds=PATIENCE_SECONDS) is not None
        assert await stream.exchange(), "an established connection broke"


@in_each_mode
async def test_pain_5_what_is_missing_is_restored_whatever_event_was_missed(mode, tmp_path):
    """Also pain 42: rules that others wipe come back, and nobody has to restart anything."""
    loop = asyncio.get_running_loop()
    async with cluster(mode, tmp_path, PLAIN) as made, made.start():
        await asyncio.sleep(SETTLED_SECONDS)
        wipe(made, tmp_path)
        wiped = loop.time()
        for family in Family:
            vip, backends = PLAIN.cluster_ip(family), {"n1p1", "n1p2", "n2p1"}
            while (await made.lab.probe("n1p4", vip, 80, TCP, timeout_seconds=0.1)).backend not in backends:
                assert loop.time() - wiped < PATIENCE_SECONDS
        print(f"{mode}: wiped rules were back after {loop.time() - wiped:.2f} s")
        while not all(family["foreign"]["repairedKeys"] > 0 for family in (await made.agent.status())["families"]):
            assert loop.time() - wiped < PATIENCE_SECONDS
            await asyncio.sleep(0.2)


@in_each_family
async def test_pain_6_a_service_that_loses_all_endpoints_refuses(mode, family, tmp_path):
    async with cluster(mode, tmp_path, STATSD) as made, made.start():
        await made.apply(replace(STATSD, ends=unready("n1p1")))
        for target in targets(WORLD, STATSD, family):
            for source in ("pod", "node", "outside"):
                assert set(await met(made, source, family, *target[1:], 3)) == {"refused"}, (target, source)


@in_each_family
async def test_pain_7_no_new_flow_reaches_the_pods_of_a_deleted_service(mode, family, tmp_path):
    async with cluster(mode, tmp_path, STATSD, OTHER) as made, made.start():
        assert "n1p1" in await met(made, "pod", family, STATSD.cluster_ip(family), 8125, UDP, THREE)
        await made.apply(OTHER)
        for _, address, port, protocol in targets(WORLD, STATSD, family):
            result = await made.ask("outside", family, address, port, protocol, silent=True)
            assert result.ending is not Ending.ANSWERED, address
        assert set(await met(made, "pod", family, OTHER.cluster_ip(family), 80, TCP, THREE)) == {"n1p1", "n1p2", "n2p1"}


@in_each_family
async def test_pain_8_a_restart_leaves_every_flow_where_it_is(mode, family, tmp_path):
    """Also pain 43: nothing is removed at a start, and new connections are served all the while."""
    async with cluster(mode, tmp_path, PLAIN, STATSD) as made:
        async with made.start():
            stream = await made.lab.stream("n1p4", PLAIN.cluster_ip(family), 80)
            assert await stream.exchange()
        with sender(made, family, STATSD.cluster_ip(family), 8125) as client:
            before = await client.ask()
            async with kept_asking(made, "pod", family, PLAIN.cluster_ip(family), 80) as found:
                for _ in range(2):
                    async with made.start() as running:
                        status = await running.status()
                        assert [one["apply"]["total"] for one in status["families"]] == [0, 0], "a restart wrote to the kernel"
                        assert await stream.exchange()
                        assert await client.ask() == before
            assert {result.ending for result in found} == {Ending.ANSWERED}
        assert stream.exchanged == 3


@in_each_family
async def test_pain_9_flapping_endpoints_leave_the_flows_of_others_alone(mode, family, tmp_path):
    async with cluster(mode, tmp_path, PLAIN, STATSD, OTHER) as made, made.start():
        stream = await made.lab.stream("n1p4", PLAIN.cluster_ip(family), 80)
        with sender(made, family, STATSD.cluster_ip(family), 8125) as client:
            before = await client.ask()
            entries = tracked(made, "-p", "udp", "--orig-dst", STATSD.cluster_ip(family))
            assert len(entries) == 1
            for ends in ((), ready("n2p1"), (), ready("n1p1", "n2p2")):
                await made.apply(PLAIN, STATSD, replace(OTHER, ends=ends))
                assert await stream.exchange()
                assert await client.ask() == before
            assert len(tracked(made, "-p", "udp", "--orig-dst", STATSD.cluster_ip(family))) == 1


@in_each_mode
async def test_pain_10_nothing_is_removed_before_everything_has_been_read(mode, tmp_path):
    """A daemon that cannot read its Services yet leaves those that an earlier one programmed."""
    async with cluster(mode, tmp_path, PLAIN) as made:
        async with made.start():
            pass
        (made.folder / "cluster.json").rename(tmp_path / "kept.json")
        made.folder.rmdir()
        with pytest.raises(AssertionError, match="the daemon ended with status 2"):
            async with made.start():
                pass
        assert set(await met(made, "pod", V4, PLAIN.cluster_ip(V4), 80, TCP, THREE)) == {"n1p1", "n1p2", "n2p1"}


@in_each_mode
async def test_pain_10_a_start_with_an_unreadable_file_removes_nothing_until_it_is_mended(mode, tmp_path):
    """The file of a whole cluster is half written while nothing runs: a fresh daemon knows no Service, and still every one works."""
    async with cluster(mode, tmp_path, PLAIN) as made:
        async with made.start():
            pass
        manifests = made.folder / "cluster.json"
        content = manifests.read_bytes()
        manifests.write_bytes(content[: len(content) // 2])
        async with made.start():
            assert set(await met(made, "pod", V4, PLAIN.cluster_ip(V4), 80, TCP, THREE)) == {"n1p1", "n1p2", "n2p1"}
            manifests.unlink()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "the Service of the file that went is served":
                    if (await made.ask("pod", V4, PLAIN.cluster_ip(V4), 80, TCP, silent=True)).ending is not Ending.ANSWERED:
                        break


# --- hairpin -----------------------------------------------------------------------------------------------------------


@in_each_mode
@pytest.mark.parametrize("protocol", Protocol)
async def test_pain_35_a_pod_reaches_itself_through_its_service(mode, protocol, tmp_path):
    service = replace(PLAIN, ports=(Port(80, protocol),), ends=ready("n1p1"))
    async with cluster(mode, tmp_path, service) as made, made.start():
        for family in Family:
            for _, address, port, _ in targets(WORLD, service, family):
                result = await made.ask("itself", family, address, port, protocol)
                assert (result.ending, result.backend, result.seen_source) == (Ending.ANSWERED, "n1p1", TOPOLOGY.gateway("n1", family))


# --- policies, draining, health ----------------------------------------------------------------------------------------


@in_each_mode
async def test_pain_44_when_the_status_says_applied_local_endpoints_are_served(mode, tmp_path):
    """A load balancer that waits for the applied revision never meets the drop of a lagging local list."""
    service = replace(PLAIN, external_local=True, ends=ready("n2p1"))
    async with cluster(mode, tmp_path, service) as made, made.start():
        for _ in range(3):
            assert (await made.ask("outside", V4, service.balancer_ip(V4), 80, TCP, silent=True)).ending is Ending.SILENT
            await made.apply(replace(service, ends=ready("n2p1", "n1p1")))
            result = await made.ask("outside", V4, service.balancer_ip(V4), 80, TCP)
            assert (result.backend, result.seen_source) == ("n1p1", TOPOLOGY.client("n1", V4))
            await made.apply(service)


@in_each_mode
async def test_pain_45_node_ports_do_not_answer_on_load_balancer_ips_where_addresses_are_restricted(mode, tmp_path):
    restricted = World(
        "primary", (*CLUSTER_CIDR, "--nodeport-addresses", "primary"), node_ports=_only(*(NODE_IP[family] for family in Family))
    )
    port = PLAIN.node_port(PLAIN.ports[0])
    for world, ending in ((WORLD, Ending.ANSWERED), (restricted, Ending.RESET)):
        scratch = tmp_path / world.name
        scratch.mkdir()
        async with cluster(mode, scratch, PLAIN, world=world) as made:
            made.lab.configure("n1", f"addr add {PLAIN.balancer_ip(V4)}/32 dev lo\n")
            async with made.start():
                assert (await made.ask("outside", V4, PLAIN.balancer_ip(V4), port, TCP)).ending is ending
                assert (await made.ask("outside", V4, PLAIN.balancer_ip(V4), 80, TCP)).ending is Ending.ANSWERED
                assert (await made.ask("outside", V4, NODE_IP[V4], port, TCP)).ending is Ending.ANSWERED


@in_each_mode
async def test_pain_53_a_rolling_update_under_external_policy_local_refuses_nobody(mode, tmp_path):
    """The load balancer still sends to a node whose only pods are terminating: they serve until others are ready."""
    service = replace(PLAIN, external_local=True, ends=ready("n1p1", "n2p1"))
    steps = (
        (*draining("n1p1"), *ready("n2p1")),
        (*draining("n1p1"), *ready("n1p2", "n2p1")),
        ready("n1p2", "n2p1"),
        (*draining("n1p2"), *ready("n2p1")),
        ready("n1p3", "n2p1"),
    )
    async with cluster(mode, tmp_path, service) as made, made.start():
        stream = await made.lab.stream("outside", service.balancer_ip(V4), 80, TOPOLOGY.client("n1", V4))
        async with kept_asking(made, "outside", V4, service.balancer_ip(V4), 80) as found:
            for ends in steps:
                await made.apply(replace(service, ends=ends))
                assert await stream.exchange(), "an established connection to a draining pod broke"
        assert {result.ending for result in found} == {Ending.ANSWERED}
        assert {result.backend for result in found} == {"n1p1", "n1p2", "n1p3"}


# --- session affinity --------------------------------------------------------------------------------------------------


SIX = ready("n1p1", "n1p2", "n1p3", "n2p1", "n2p2", "n2p3")


def crowd(made, family):
    """Return further addresses of the outside client: as many as let chance leave out one of six backends once in 10^11 times."""
    addresses = [f"fd00:18:1::{n:x}" if family is V6 else f"198.18.1.{n}" for n in range(100, 250)]
    made.lab.configure("outside", "".join(f"addr add {one}/{128 if family is V6 else 32} dev lo nodad\n" for one in addresses))
    return addresses


async def met_by_crowd(made, addresses, destination):
    """Return which backend each of many clients meets."""
    results = await asyncio.gather(*(made.lab.probe("outside", destination, 80, TCP, source_address=one) for one in addresses))
    return dict(zip(addresses, (result.backend for result in results), strict=True))


@in_each_family
async def test_pain_57_affinity_ends_with_the_backend_and_with_its_time(mode, family, tmp_path):
    service = replace(PLAIN, name="sticky", affinity=600, ends=SIX)
    vip = service.balancer_ip(family)
    async with cluster(mode, tmp_path, service) as made, made.start():
        clients = crowd(made, family)
        first = await met_by_crowd(made, clients, vip)
        assert set(first.values()) == {end.place for end in SIX}
        assert await met_by_crowd(made, clients, vip) == first
        await made.apply(replace(service, ends=(*unready("n1p1"), *SIX[1:])))
        second = await met_by_crowd(made, clients, vip)
        assert "n1p1" not in second.values(), "a client was sent to a pod that is not ready"
        assert {client: place for client, place in first.items() if place != "n1p1"}.items() <= second.items()
        if mode.affinity_ends:
            await made.apply(replace(service, affinity=1, ends=SIX[1:]))
            await asyncio.sleep(2.5)
            assert await met_by_crowd(made, clients, vip) != second, "affinity outlived its time"


@in_each_family
async def test_sem_25_affinity_is_one_for_all_frontends_and_each_client_has_its_own(mode, family, tmp_path):
    service = replace(PLAIN, name="sticky", affinity=600, ends=SIX)
    async with cluster(mode, tmp_path, service) as made, made.start():
        for source in ("pod", "outside", "stranger", "node", "second address", "itself"):
            found = set()
            for _, address, port, _ in targets(WORLD, service, family):
                found |= set(await met(made, source, family, address, port, TCP, 4))
            assert len(found) == 1, (source, found)
        assert set((await met_by_crowd(made, crowd(made, family), service.balancer_ip(family))).values()) == {end.place for end in SIX}


# --- source addresses --------------------------------------------------------------------------------------------------


@in_each_family
async def test_pain_58_what_is_said_about_the_source_address_is_so(mode, family, tmp_path):
    """The oracle's word on masquerading, with its reason, is what the backend sees: kept with policy Local, lost with Cluster."""
    local = replace(PLAIN, name="keeps", external_local=True, number=201)
    async with cluster(mode, tmp_path, PLAIN, local) as made, made.start():
        client = TOPOLOGY.client("n1", family)
        for service, masqueraded, number in ((PLAIN, True, "SEM-11"), (local, False, "SEM-14")):
            outcome = made.expect("outside", family, service.balancer_ip(family), 80, TCP)
            assert {share.masquerade for share in outcome.shares} == {masqueraded}
            assert {share.reason.partition(":")[0] for share in outcome.shares} == {number}
            for result in [await made.ask("outside", family, service.balancer_ip(family), 80, TCP) for _ in range(10)]:
                assert (result.seen_source == client) is not masqueraded


@in_each_family
async def test_pain_59_a_load_balancer_ip_without_local_endpoints_is_dropped_and_says_why(mode, family, tmp_path):
    service = replace(PLAIN, external_local=True, ends=ready("n2p1"))
    async with cluster(mode, tmp_path, service) as made, made.start():
        vip = service.balancer_ip(family)
        outcome = made.expect("outside", family, vip, 80, TCP)
        assert (outcome.verdict, outcome.reason) == (
            Verdict.DROP, "SEM-15: external traffic policy Local, and no endpoint of table/cc-both is on this node"
        )
        assert (await made.ask("outside", family, vip, 80, TCP, silent=True)).ending is Ending.SILENT
        assert (await made.ask("pod", family, vip, 80, TCP)).backend == "n2p1"
        assert (await made.ask("node", family, vip, 80, TCP)).backend == "n2p1"


@in_each_family
async def test_pain_60_source_ranges_guard_the_load_balancer_ip_and_nothing_else(mode, family, tmp_path):
    service = BY_NAME["ranges-cc-both"]
    async with cluster(mode, tmp_path, service) as made, made.start():
        for name, address, port, protocol in targets(WORLD, service, family):
            guarded = name == "load-balancer IP"
            stranger = await made.ask("stranger", family, address, port, protocol, silent=guarded)
            assert stranger.ending is (Ending.SILENT if guarded else Ending.ANSWERED), name
            assert (await made.ask("outside", family, address, port, protocol)).ending is Ending.ANSWERED, name


# --- loopback ----------------------------------------------------------------------------------------------------------

LOOPBACK_FROM_OUTSIDE = """
route del local 127.0.0.0/8 dev lo table local
route del local 127.0.0.1 dev lo table local
route add 127.0.0.0/8 via 192.168.50.1
"""


@in_each_mode
@pytest.mark.parametrize("guarded", [False, True])
async def test_sem_45_localhost_of_the_node_stays_closed_to_its_neighbours(mode, guarded, tmp_path):
    """Node ports on loopback need route_localnet, which alone opens every local daemon to the link (CVE-2020-8558).

    A mode that does not serve loopback does not open it either, and has nothing to guard.
    """
    async with cluster(mode, tmp_path, PLAIN) as made:
        made.lab.servers.serve("n1", TCP, 9999)
        made.lab.configure("outside", LOOPBACK_FROM_OUTSIDE)
        source = TOPOLOGY.places["outside"].addresses[V4]
        for place in ("n1", "outside"):
            made.lab.sysctl(place, {"net/ipv4/conf/all/route_localnet": "1"})
        async with made.start() if guarded else contextlib.nullcontext():
            closed = guarded and mode.on_loopback
            seconds = SILENCE_SECONDS if closed else ANSWER_SECONDS
            result = await made.lab.probe("outside", "127.0.0.1", 9999, TCP, source_address=source, timeout_seconds=seconds)
            assert result.ending is (Ending.SILENT if closed else Ending.ANSWERED)
            own = await made.lab.probe("n1", "127.0.0.1", 9999, TCP, source_address="127.0.0.1")
            assert own.backend == "n1"


# --- balance -----------------------------------------------------------------------------------------------------------


@in_each_mode
@pytest.mark.parametrize("count", [2, 3, 6])
async def test_sem_26_backends_get_equal_shares(mode, count, tmp_path):
    """1200 connections; a share that differs by more than eight standard deviations is no chance (less than one in 10^12)."""
    places = ("n1p1", "n1p2", "n1p3", "n2p1", "n2p2", "n2p3")[:count]
    service, asked = replace(PLAIN, ends=ready(*places)), 1200
    async with cluster(mode, tmp_path, service) as made, made.start():
        found = await met(made, "pod", V4, service.cluster_ip(V4), 80, TCP, asked)
    deviation = (asked * (1 / count) * (1 - 1 / count)) ** 0.5
    assert set(found) == set(places)
    assert all(abs(found[place] - asked / count) < 8 * deviation for place in places), found


def test_the_bounds_are_safe():
    """How many connections the table makes before it says that a backend never answers."""
    for count in range(1, 8):
        shares = (None,) * count
        assert count == 1 or count * (1 - 1 / count) ** most(shares) <= 1e-15
    assert POD_PORT == 8080
