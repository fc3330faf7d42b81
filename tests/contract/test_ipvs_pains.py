"""The traps that users of kube-proxy's ipvs mode fell into (docs: pains 16 to 36 and 87 to 90), by real packets in a kernel that has IPVS.

What a trap has in common with the other modes stands in `test_pains` (16, 27 as 45, 35) and in the table; here is what only IPVS can get
wrong.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pointsman.proxy.demo.lab import Ending
from pointsman.routing.route import Family, Protocol
from table_cases import sources
from table_cluster import cluster
from table_modes import IPVS
from table_services import BY_NAME, Port, ready, unready
from table_worlds import TOPOLOGY
from test_pains import NODE_IP, Sender, met

V4, V6 = Family.IPV4, Family.IPV6
TCP, UDP = Protocol.TCP, Protocol.UDP
pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]
PLAIN = BY_NAME["cc-both"]
OTHER = replace(PLAIN, name="other", number=200)
STATSD = replace(PLAIN, name="statsd", ports=(Port(8125, UDP),))
FOREIGN = "198.51.100.7:99"
DEVICE = "kube-ipvs0"
PATIENCE_SECONDS = 60.0


def on_node(made, *words, node="n1", check=True):
    """Run a program on a node; return what it prints."""
    lock = {**os.environ, "XTABLES_LOCKFILE": str(made.scratch / f"{node}.lock")}
    return subprocess.run(made.lab.command(node, *words), capture_output=True, text=True, check=check, env=lock).stdout


def servers(made):
    """Return what IPVS holds on the first node, as lines that ipvsadm could read back."""
    return set(on_node(made, "ipvsadm", "-S", "-n").splitlines())


def real_servers(made, protocol, address, port):
    """Return the real servers of a virtual server as {address: weight}."""
    option = {TCP: "-t", UDP: "-u"}[protocol]
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    words = [line.split() for line in servers(made) if line.startswith(f"-a {option} {where} ")]
    return {line[4].rpartition(":")[0].strip("[]"): int(line[-1]) for line in words}


def bound(made, node="n1"):
    """Return the addresses on our device."""
    links = json.loads(on_node(made, "ip", "-json", "addr", "show", "dev", DEVICE, node=node, check=False) or "[]")
    return {entry["local"] for link in links for entry in link["addr_info"]}


def everything(made):
    """Return all that the mode can leave in a kernel, without counters."""
    text = "".join(on_node(made, f"{tool}-legacy-save") for tool in ("iptables", "ip6tables")) + on_node(made, "ipset", "save", "-sorted")
    lines = [line.partition(" [")[0] for line in text.splitlines() if line and line[0] != "#"]
    sets = [" ".join(word for word in line.split() if not word.startswith("0x")) if line.startswith("create") else line for line in lines]
    return servers(made), bound(made), sorted(line for line in sets if not line.startswith("*") and line != "COMMIT")


async def until(made, holds, seconds=PATIENCE_SECONDS):
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"not so after {seconds} s:\n{(made.scratch / 'n1.log').read_text()}"
        await asyncio.sleep(0.3)


# --- what goes gracefully ----------------------------------------------------------------------------------------------


async def test_pain_16_a_removed_server_gets_weight_0_keeps_its_connections_and_goes_with_the_last_one(tmp_path):
    vip, gone = PLAIN.cluster_ip(V4), TOPOLOGY.places["n1p1"].addresses[V4]
    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n1p1"))) as made, made.start():
        stream = await made.lab.stream("n1p4", vip, 80)
        await made.apply(replace(PLAIN, ends=ready("n1p2")))
        assert real_servers(made, TCP, vip, 80) == {gone: 0, TOPOLOGY.places["n1p2"].addresses[V4]: 1}
        assert set(await met(made, "pod", V4, vip, 80, TCP, 20)) == {"n1p2"}
        assert await stream.exchange()


async def test_pain_17_and_18_a_reused_source_port_is_served_at_once_and_not_by_a_draining_server(tmp_path):
    """A client that binds its port, as proxies do: the second connection reuses the entry of the first, which has just ended."""
    vip = PLAIN.cluster_ip(V4)
    source = TOPOLOGY.places["n1p4"].addresses[V4]

    async def once():
        client = made.lab.socket("n1p4", V4, socket.SOCK_STREAM)
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.bind((source, 45678))
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await loop.sock_connect(client, (vip, 80))
                return loop.time() - began, json.loads(await loop.sock_recv(client, 4096))["place"]

    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n1p1"))) as made, made.start():
        holding = await made.lab.stream("n1p3", vip, 80)
        again, moved = [], []
        for _ in range(3):
            for place, other in (("n1p1", "n2p1"), ("n2p1", "n1p1")):
                found = [await once() for _ in range(4)]
                assert {where for _, where in found} == {place}
                again += [seconds for seconds, _ in found[1:]]
                moved += [found[0][0]] if place == "n2p1" else []
                await made.apply(replace(PLAIN, ends=ready(other)))
        assert await holding.exchange()
        # A first packet that is dropped is sent again a second later, each time; a busy machine is not so slow each time.
        assert min(again) < 0.9
        assert min(moved) < 0.9


async def test_pain_19_what_drains_goes_after_a_time_at_the_latest(tmp_path):
    vip = PLAIN.cluster_ip(V4)
    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n1p1"))) as made, made.start("--ipvs-drain-cap", "12s"):
        stream = await made.lab.stream("n1p4", vip, 80)
        await made.apply(replace(PLAIN, ends=ready("n1p2")))
        assert await stream.exchange()
        await until(made, lambda: TOPOLOGY.places["n1p1"].addresses[V4] not in real_servers(made, TCP, vip, 80))
        assert not await stream.exchange(2.0)


async def test_pain_20_udp_servers_go_at_once_and_busy_clients_move_on(tmp_path):
    vip = STATSD.cluster_ip(V4)
    async with cluster(IPVS, tmp_path, replace(STATSD, ends=ready("n1p1"))) as made, made.start():
        client = Sender(made.lab, sources(made.world, V4)["pod"], V4, vip, 8125)
        with contextlib.closing(client.socket):
            assert {await client.ask() for _ in range(3)} == {"n1p1"}
            await made.apply(replace(STATSD, ends=ready("n1p2")))
            assert set(real_servers(made, UDP, vip, 8125)) == {TOPOLOGY.places["n1p2"].addresses[V4]}
            await client.ask(0.3)  # the packet by which the kernel notices
            assert {await client.ask() for _ in range(3)} == {"n1p2"}


async def test_pain_21_affinity_does_not_hold_a_client_to_a_draining_server(tmp_path):
    service = replace(PLAIN, affinity=10800, ends=ready("n1p1"))
    vip = service.cluster_ip(V4)
    async with cluster(IPVS, tmp_path, service) as made, made.start():
        stream = await made.lab.stream("n1p4", vip, 80)
        await made.apply(replace(service, ends=ready("n1p2")))
        assert real_servers(made, TCP, vip, 80)[TOPOLOGY.places["n1p1"].addresses[V4]] == 0
        assert set(await met(made, "pod", V4, vip, 80, TCP, 10)) == {"n1p2"}
        assert await stream.exchange()


async def test_pain_23_what_drains_can_be_seen_with_its_service_and_its_end(tmp_path):
    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n1p1"))) as made, made.start() as agent:
        stream = await made.lab.stream("n1p4", PLAIN.cluster_ip(V4), 80)
        await made.apply(replace(PLAIN, ends=ready("n1p2")))
        program = Path(sys.executable).parent / "pointsman"
        told = json.loads(on_node(made, str(program), "ipvs", "drain", "--socket", agent.socket, "-o", "json"))
        [row] = told["draining"]
        assert (row["server"], row["service"]) == (f"{TOPOLOGY.places['n1p1'].addresses[V4]}:8080", "table/cc-both")
        assert row["activeConnections"] == 1
        assert row["since"] < row["removedBy"]
        assert await stream.exchange()


# --- addresses that are the node's -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", Family)
async def test_pain_24_programs_of_the_host_do_not_answer_at_addresses_of_services(family, tmp_path):
    async with cluster(IPVS, tmp_path, PLAIN) as made, made.start():
        made.lab.servers.serve("n1", TCP, 2222)
        for vip in (PLAIN.cluster_ip(family), PLAIN.external_ip(family), PLAIN.balancer_ip(family)):
            for source in ("pod", "outside", "node"):
                assert (await made.ask(source, family, vip, 2222, TCP)).ending is Ending.REFUSED, (source, vip)
        assert (await made.ask("outside", family, NODE_IP[family], 2222, TCP)).backend == "n1"


async def test_pain_25_an_address_of_a_node_is_no_services_address(tmp_path):
    """The Service asks for the other node's address as its external IP: that node stays reachable, and the operator is told."""
    other = TOPOLOGY.places["n2"].addresses[V4]
    async with cluster(IPVS, tmp_path, PLAIN) as made:
        listing = json.loads((made.folder / "cluster.json").read_text())
        for one in listing["items"]:
            if one["kind"] == "Service":
                one["spec"]["externalIPs"] = [other, NODE_IP[V4]]
        (made.folder / "cluster.json").write_text(json.dumps(listing))
        made.lab.servers.serve("n2", TCP, 2222)
        async with made.start():
            assert not {other, NODE_IP[V4]} & bound(made)
            assert (await made.ask("node", V4, other, 2222, TCP)).backend == "n2"
            assert other in (made.scratch / "n1.log").read_text()


async def test_pain_26_a_cluster_ips_port_in_the_range_of_node_ports_is_not_a_node_port(tmp_path):
    port = OTHER.node_port(OTHER.ports[0])
    crossing = replace(PLAIN, ports=(Port(port),), ends=ready("n1p1"))
    async with cluster(IPVS, tmp_path, crossing, replace(OTHER, ends=ready("n1p2"))) as made, made.start():
        assert set(await met(made, "pod", V4, crossing.cluster_ip(V4), port, TCP, 6)) == {"n1p1"}
        assert set(await met(made, "outside", V4, NODE_IP[V4], port, TCP, 6)) == {"n1p2"}
        assert (await made.ask("pod", V4, OTHER.cluster_ip(V4), port, TCP)).ending is Ending.REFUSED


@pytest.mark.parametrize("strict", [False, True])
async def test_pain_28_nobody_answers_arp_for_service_addresses_where_that_was_asked_for(strict, tmp_path):
    vip = PLAIN.balancer_ip(V4)
    async with cluster(IPVS, tmp_path, PLAIN) as made:
        before = on_node(made, "cat", "/proc/sys/net/ipv4/conf/all/arp_ignore")
        async with made.start(*(["--ipvs-strict-arp"] if strict else [])):
            made.lab.configure("outside", f"route replace {vip}/32 dev eth0\n")
            own = [link["address"] for link in json.loads(on_node(made, "ip", "-json", "link"))]

            def answered():
                return any(address in on_node(made, "ip", "neigh", "show", vip, node="outside") for address in own)

            await made.lab.probe("outside", vip, 80, TCP, timeout_seconds=0.5)
            if not strict:
                await until(made, answered)
            assert answered() is not strict
            assert on_node(made, "cat", "/proc/sys/net/ipv4/conf/all/arp_ignore") == before, "all interfaces were changed"
            assert (await made.ask("outside", V4, NODE_IP[V4], PLAIN.node_port(PLAIN.ports[0]), TCP)).ending is Ending.ANSWERED


# --- leftovers, and what is others' -------------------------------------------------------------------------------------


async def test_pain_29_what_a_killed_agent_left_behind_goes_with_the_next_start(tmp_path):
    async with cluster(IPVS, tmp_path, PLAIN, OTHER) as made:
        async with made.start() as first:
            first.process.kill()
            await first.process.wait()
        made.write(PLAIN)
        async with made.start():
            await until(made, lambda: OTHER.cluster_ip(V4) not in bound(made))
            alone = everything(made)
            assert not any(OTHER.cluster_ip(family) in line for family in Family for line in (*alone[0], *alone[1], *alone[2]))


async def test_pain_29_an_agent_killed_at_any_moment_leaves_nothing_that_the_next_one_cannot_put_right(tmp_path):
    """The same state as without the kills, whenever they come: while it is programmed and while it changes."""
    few = replace(PLAIN, ends=ready("n1p1"))
    async with cluster(IPVS, tmp_path, few, OTHER) as made:
        async with made.start():
            wanted = everything(made)
        on_node(made, str(Path(sys.executable).parent / "pointsman"), "cleanup", "--proxy-mode", "ipvs")
        for moment in range(8):
            made.write(few, OTHER) if moment % 2 else made.write(PLAIN, STATSD)
            with contextlib.suppress(AssertionError):
                async with made.start_unready() as agent:
                    await asyncio.sleep(1.0 + moment * 0.35)
                    agent.process.send_signal(signal.SIGKILL)
                    await agent.process.wait()
        made.write(few, OTHER)
        async with made.start():
            await until(made, lambda: everything(made) == wanted)


async def test_pain_30_virtual_servers_of_others_survive_start_change_and_cleanup(tmp_path):
    async with cluster(IPVS, tmp_path, PLAIN) as made:
        on_node(made, "ipvsadm", "-A", "-t", FOREIGN, "-s", "wlc")
        on_node(made, "ipvsadm", "-a", "-t", FOREIGN, "-r", "192.0.2.99:99", "-m", "-w", "7")
        on_node(made, "ipvsadm", "-A", "-f", "77", "-s", "rr")
        theirs = servers(made)
        async with made.start():
            await made.apply(PLAIN, OTHER)
            await made.apply(OTHER)
            assert theirs < servers(made)
        on_node(made, str(Path(sys.executable).parent / "pointsman"), "cleanup", "--proxy-mode", "ipvs")
        assert servers(made) == theirs
        assert bound(made) == set()


async def test_pain_31_servers_that_somebody_removed_come_back_and_it_is_told(tmp_path):
    async with cluster(IPVS, tmp_path, PLAIN) as made, made.start():
        before = servers(made)
        on_node(made, "ipvsadm", "-C")
        await until(made, lambda: servers(made) == before)
        status = await made.agent.status()
        assert all(family["foreign"]["repairedKeys"] > 0 for family in status["families"])


async def test_pain_32_source_ranges_of_one_service_are_not_anothers_on_the_same_address(tmp_path):
    """Both on one load-balancer IP, by port; and the ranges hold for this node's own packets."""
    guarded = BY_NAME["ranges-cc-both"]
    async with cluster(IPVS, tmp_path, guarded, replace(PLAIN, ports=(Port(81),))) as made:
        listing = json.loads((made.folder / "cluster.json").read_text())
        for one in listing["items"]:
            if one["kind"] == "Service" and one["metadata"]["name"] == PLAIN.name:
                one["status"]["loadBalancer"]["ingress"] = [{"ip": guarded.balancer_ip(V4)}]
        (made.folder / "cluster.json").write_text(json.dumps(listing))
        async with made.start():
            vip = guarded.balancer_ip(V4)
            assert (await made.ask("stranger", V4, vip, 81, TCP)).ending is Ending.ANSWERED
            for source in ("stranger", "node"):
                assert (await made.ask(source, V4, vip, 80, TCP, silent=True)).ending is Ending.SILENT, source
            assert (await made.ask("outside", V4, vip, 80, TCP)).ending is Ending.ANSWERED


async def test_pain_34_changes_leak_no_rule_set_address_or_server(tmp_path):
    async with cluster(IPVS, tmp_path, PLAIN) as made, made.start():
        before = everything(made)
        for _ in range(6):
            await made.apply(replace(PLAIN, ends=ready("n2p2"), external_local=True, affinity=60), OTHER, STATSD)
            await made.apply(PLAIN)
        await until(made, lambda: everything(made) == before)


async def test_pain_36_removal_leaves_nothing(tmp_path):
    async with cluster(IPVS, tmp_path, PLAIN, STATSD) as made:
        async with made.start():
            pass
        on_node(made, str(Path(sys.executable).parent / "pointsman"), "cleanup", "--proxy-mode", "ipvs")
        there, addresses, rules = everything(made)
        assert (there, addresses) == (set(), set())
        assert [line for line in rules if "KUBE" in line] == []


async def test_pain_22_affinity_lasts_its_time_and_then_ends(tmp_path):
    """It ends with its time, but never before the client's closed connections are forgotten, which bind it (docs: modes.md)."""
    service = replace(PLAIN, affinity=2)
    vip = service.cluster_ip(V4)

    def remembered():
        lines = on_node(made, "cat", "/proc/net/ip_vs_conn").splitlines()[1:]
        return [line for line in lines if line.split()[2] == "0000" and int(line.split()[4], 16) == 80]

    async with cluster(IPVS, tmp_path, service) as made, made.start():
        assert len(await met(made, "pod", V4, vip, 80, TCP, 10)) == 1
        assert len(remembered()) == 1
        await until(made, lambda: not remembered())


@pytest.mark.parametrize("family", Family)
async def test_pain_27_node_ports_answer_at_the_nodes_addresses_and_at_no_service_address(family, tmp_path):
    port = PLAIN.node_port(PLAIN.ports[0])
    async with cluster(IPVS, tmp_path, PLAIN) as made, made.start():
        assert (await made.ask("outside", family, NODE_IP[family], port, TCP)).ending is Ending.ANSWERED
        for vip in (PLAIN.cluster_ip(family), PLAIN.external_ip(family), PLAIN.balancer_ip(family)):
            assert (await made.ask("outside", family, vip, port, TCP)).ending is Ending.REFUSED, vip
        loopback = {V4: "127.0.0.1", V6: "::1"}[family]
        assert (await made.ask("loopback", family, loopback, port, TCP)).ending is Ending.RESET, "nobody listens there (docs: modes.md)"


async def test_pain_86_weights_are_given_by_annotation_and_kept(tmp_path):
    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n1p1", "n2p1"))) as made:
        listing = json.loads((made.folder / "cluster.json").read_text())
        [one] = [one for one in listing["items"] if one["kind"] == "Service"]
        one["metadata"]["annotations"] = {"pointsman.dev/ipvs-scheduler": "wrr", "pointsman.dev/ipvs-weights": "node:n1=3, node:n2=1"}
        (made.folder / "cluster.json").write_text(json.dumps(listing))
        async with made.start():
            weights = {place: TOPOLOGY.places[place].addresses[V4] for place in ("n1p1", "n2p1")}
            assert real_servers(made, TCP, PLAIN.cluster_ip(V4), 80) == {weights["n1p1"]: 3, weights["n2p1"]: 1}
            assert await met(made, "pod", V4, PLAIN.cluster_ip(V4), 80, TCP, 40) == {"n1p1": 30, "n2p1": 10}


async def test_pain_87_the_hairpin_entry_of_a_pod_is_there_and_comes_back(tmp_path):
    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n1p1"))) as made, made.start("--drift-check-period", "2s"):
        assert (await made.ask("itself", V4, PLAIN.cluster_ip(V4), 80, TCP)).backend == "n1p1"
        on_node(made, "ipset", "flush", "KUBE-LOOP-BACK")
        await until(made, lambda: TOPOLOGY.places["n1p1"].addresses[V4] in on_node(made, "ipset", "list", "KUBE-LOOP-BACK"))
        assert (await made.ask("itself", V4, PLAIN.cluster_ip(V4), 80, TCP)).backend == "n1p1"


async def test_pain_89_pods_and_the_node_reach_the_api_servers_cluster_ip(tmp_path):
    """Its endpoints are the nodes themselves, on the host's network."""
    service = BY_NAME["host-network"]
    async with cluster(IPVS, tmp_path, service) as made:
        for node in ("n1", "n2"):
            made.lab.servers.serve(node, TCP, 8080)
        async with made.start():
            for source in ("pod", "node"):
                assert set(await met(made, source, V4, service.cluster_ip(V4), 80, TCP, 12)) == {"n1", "n2"}, source


async def test_pain_90_connections_to_a_node_that_is_gone_are_not_waited_for(tmp_path):
    """Its Node object goes while slices still list its pods as not ready; the client hears nothing that would end its connection."""
    vip = PLAIN.cluster_ip(V4)
    async with cluster(IPVS, tmp_path, replace(PLAIN, ends=ready("n2p1"))) as made, made.start():
        await made.lab.stream("n1p4", vip, 80)
        made.write(replace(PLAIN, ends=(*unready("n2p1"), *ready("n1p1"))))
        await until(made, lambda: real_servers(made, TCP, vip, 80).get(TOPOLOGY.places["n2p1"].addresses[V4]) == 0)
        listing = json.loads((made.folder / "cluster.json").read_text())
        listing["items"] = [one for one in listing["items"] if (one["kind"], one["metadata"]["name"]) != ("Node", "n2")]
        (made.folder / "cluster.json").write_text(json.dumps(listing))
        await until(made, lambda: set(real_servers(made, TCP, vip, 80)) == {TOPOLOGY.places["n1p1"].addresses[V4]})
