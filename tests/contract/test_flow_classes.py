"""Each class of flow, made by real packets and named by `pointsman conntrack`, with an agent and without."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pointsman.routing.route import Family, Protocol
from table_agent import write
from table_cases import sources
from table_cluster import WORLD
from table_modes import MODES
from table_services import POD_PORT, Port, draining, manifests, ready
from table_worlds import TOPOLOGY
from test_flows import QUEUE, STATSD, entries, patient, until
from test_pains import Sender

V4 = Family.IPV4
UDP = Protocol.UDP
pytestmark = pytest.mark.kernel
in_each_mode = pytest.mark.parametrize("mode", [mode.param() for mode in MODES])
LATER = replace(STATSD, name="later", number=205, ends=ready("n2p1"))
GONE = replace(STATSD, name="gone", number=206, ends=ready("n1p3"))
ELSEWHERE = "198.51.100.99"


def conntrack(made, *arguments):
    """Run the command on the node, as somebody would who has the manifests and no agent; return its status and what it prints."""
    program = str(Path(sys.executable).parent / "pointsman")
    place = ("--manifests", str(made.folder), "--hostname-override", "n1", "--socket", str(made.scratch / "n1.sock"))
    line = made.lab.command("n1", program, "conntrack", arguments[0], *place, *made.mode.arguments, *made.world.arguments, *arguments[1:])
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout


def classes(made, ports):
    """Return class, service and reason of the flows of some clients, by the client's port."""
    found = json.loads(conntrack(made, "list", "--proto", "udp", "-o", "json")[1])["flows"]
    return {
        (ports[port], one["frontend"]): (one["flowClass"], one["service"], one["reason"])
        for one in found
        if (port := int(one["client"].rpartition(":")[2])) in ports
    }


def translate(made, address, port, to):
    """Send what goes to an address to a pod instead, as a plug-in or an administrator might."""
    tool = f"iptables-{'nft' if 'nft' in made.mode.name else 'legacy'}"
    rule = ("-t", "nat", "-I", "PREROUTING", "-p", "udp", "-d", address, "--dport", str(port))
    subprocess.run(made.lab.command("n1", tool, *rule, "-j", "DNAT", "--to-destination", f"{to}:{POD_PORT}"), check=True)


class Clients:
    """UDP clients at one pod, each with a socket that it keeps, by name."""

    def __init__(self, made, stack):
        self.made = made
        self.stack = stack
        self.source = sources(WORLD, V4)["pod"]
        self.ports = {}

    def add(self, name, destination, port):
        one = Sender(self.made.lab, self.source, V4, destination, port)
        self.stack.callback(one.socket.close)
        self.ports[one.socket.getsockname()[1]] = name
        return one


@in_each_mode
async def test_every_class_is_made_by_packets_and_explained(mode, tmp_path):
    """Pains 1, 2, 7 and 15 as an operator sees them; `recycled`, which needs a witness, has its own test."""
    clashing = mode.name != "ipvs"  # IPVS chooses no other port: the second way of such a client is lost there (pain 15)
    pod = {name: TOPOLOGY.places[name].addresses[V4] for name in ("n1p1", "n1p2", "n1p3")}
    async with patient(mode, tmp_path, STATSD, QUEUE, GONE) as made:
        with contextlib.ExitStack() as stack:
            clients = Clients(made, stack)
            translate(made, ELSEWHERE, 99, pod["n1p2"])
            await clients.add("early", LATER.external_ip(V4), 8125).ask(1.0)  # nobody translates it: no agent, no rules of ours
            async with made.start():
                assert await clients.add("good", STATSD.cluster_ip(V4), 8125).ask() == "n1p1"
                assert await clients.add("gone", GONE.external_ip(V4), 8125).ask() == "n1p3"
                assert await clients.add("moved", QUEUE.cluster_ip(V4), 8125).ask() in {"n1p2", "n2p2"}
                assert await clients.add("foreign", ELSEWHERE, 99).ask() == "n1p2"
                both = clients.add("both", pod["n1p1"], POD_PORT)
                assert await both.ask() == "n1p1"
                if clashing:
                    both.socket.connect((STATSD.cluster_ip(V4), 8125))
                    await both.ask()
            assert (await early_entry(made)) is not None
            made.write(STATSD, replace(QUEUE, ends=ready("n2p3")), LATER)
            found = classes(made, clients.ports)
            assert found.pop(("both", f"{pod['n1p1']}:{POD_PORT}"))[0] == "not-a-service"
            assert {name: (kind, service) for (name, _), (kind, service, _) in found.items()} == {
                "early": ("unnatted", "table/later"),
                "good": ("ok", "table/statsd"),
                "gone": ("stale-frontend", "table/gone"),
                "moved": ("stale-backend", "table/queue"),
                "foreign": ("foreign", ""),
                **({"both": ("clash", "table/statsd")} if clashing else {}),
            }
            reasons = {name: reason for (name, _), (_, _, reason) in found.items()}
            assert "not translated: it was made while there were no endpoints or no rules" in reasons["early"]
            assert f"which was table/gone and is not any more, to {pod['n1p3']}:{POD_PORT}" in reasons["gone"]
            assert f"from cluster IP {QUEUE.cluster_ip(V4)}:8125 of table/queue" in reasons["moved"]
            status, text = conntrack(made, "stale")
            assert status == 1
            assert text.count("stale-frontend ") == 1
            made.write(replace(STATSD, ends=(*draining("n1p1"), *ready("n2p1"))), LATER, QUEUE, GONE)
            drains = classes(made, clients.ports)["good", f"{STATSD.cluster_ip(V4)}:8125"]
            assert (drains[0], "serves on, but takes no new connections" in drains[2]) == ("draining", True)
            before = entries(made, "-p", "udp")
            status, text = conntrack(made, "flush", "--class", "unnatted", "--yes")
            assert status == 0
            assert text.endswith("1 entries deleted\n")
            assert len(before - entries(made, "-p", "udp")) == 1


async def early_entry(made):
    """Return the entry that was made before there were rules; None if there is none."""
    return next(iter(entries(made, "-p", "udp", "--orig-dst", LATER.external_ip(V4))), None)


@in_each_mode
async def test_pain_83_a_recycled_address_gets_nothing_of_its_former_owner(mode, tmp_path):
    """One pod ends and another one, of another Service, is given its address."""
    owner = replace(STATSD, name="owner", ends=ready("n1p3"))
    other = replace(STATSD, name="other", number=207, ports=(Port(80, UDP),), ends=ready("n1p3"))

    def given_away():
        found = manifests([replace(owner, ends=ready("n2p1")), other], TOPOLOGY)
        for one in found:
            for end in one.get("endpoints") or ():
                if "table/other" in f"{one['metadata']['namespace']}/{one['metadata']['labels'].get('kubernetes.io/service-name')}":
                    end["targetRef"] = {"kind": "Pod", "name": "tenant-b", "namespace": "table"}
        return found

    async with patient(mode, tmp_path, owner) as made, made.start() as running:
        with contextlib.ExitStack() as stack:
            one = Clients(made, stack).add("client", owner.cluster_ip(V4), 8125)
            assert await one.ask() == "n1p3"
            before = await running.in_sync()
            write(made.folder, given_away())
            await running.in_sync(at_least=before + 1)
            await until(lambda: one.ask(1.0), "n2p1", running.log.read_text())

        async def named():
            text = running.log.read_text()
            return "recycled=1" in text and "pod table/tenant-b" in text

        if mode.name != "ipvs":  # IPVS ends the flow of UDP itself, and may be quicker
            await until(named, True, running.log.read_text())
