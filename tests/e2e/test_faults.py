"""The API server misbehaves in every way it can; nothing that forwards is lost by it, and when it is well again the agent catches up.

Most tests have the agent of node n1 ask through the proxy (`door`). Meanwhile node n2's agent has no API server at all, for five minutes.
"""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from plane import ADDRESS
from plane_agent import Identity, api_agent
from plane_judge import VARIANTS, Judge, traffic
from plane_objects import Stage, port
from plane_proxy import NO_STREAMS, Door, Fault
from plane_wait import LONG, until
from pointsman.proxy.demo.lab_topology import UNDERLAY
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

GONE_SECONDS = 300.0
NOTICED_SECONDS = 120.0
MOST_LINES = 12
"""In the log, for one failure of everything: each of five kinds may be told, and that another has joined it."""
HOUR, DAY = 3600, 86400
CLOCK = Path(__file__).with_name("plane_clock.py")
NODE = "n1"


def failure(code, reason, message):
    """Return a body as the API server words its failures."""
    return json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
                       "code": code}).encode()


def expired(message="too old resource version: 1 (2)"):
    """Return the watch event that ends a watch from a revision that is no more."""
    return b'{"type":"ERROR","object":' + failure(410, "Expired", message) + b"}\n"


FAULTS = {
    "403": Fault(status=403, body=failure(403, "Forbidden", "no")),
    "429": Fault(status=429, headers={"Retry-After": "1"}, body=failure(429, "TooManyRequests", "later")),
    "500": Fault(status=500, body=failure(500, "InternalError", "etcdserver: leader changed")),
    "503 without words": Fault(status=503),
    "garbage": Fault(status=200, body=b"\x00\xff<html>maintenance</html>"),
    "another kind": Fault(status=200, body=b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[]}'),
    "empty": Fault(status=200),
    "half a JSON": Fault(cut=700),
    "410 to every watch": Fault(status=410, body=failure(410, "Expired", "too old resource version"), watch=True),
    "410 within a watch": Fault(lines=(expired(),), watch=True),
    "garbage within a watch": Fault(lines=(b"not JSON\n",), watch=True),
    "a watch that breaks off": Fault(lines=(b'{"type":"MODIFIED","object":{"kind":"Servi',), watch=True),
    "a watch event of no type": Fault(lines=(b'{"type":"SURPRISE","object":{}}\n',), watch=True),
    "a watch that ends at once": Fault(lines=(b"\n",), watch=True),
}


@pytest_asyncio.fixture(loop_scope="session")
async def shop(stage):
    """Three Pods and a Service that reaches them, at its cluster IP and at a node port."""
    await stage.pods("web", "n1p1", "n2p1", "n2p2")
    await stage.service("web", [port(80)], app="web", type="NodePort")
    return stage


@asynccontextmanager
async def agent_at(lab, config, scratch, node=NODE, **more):
    async with api_agent(lab, node, VARIANTS[node], ("--kubeconfig", config), scratch, **more) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def judge(plane, shop, served, lab, door, identity, tmp_path):
    """The judge of an agent that asks through the door, from when it has agreed once."""
    door.fault = None
    async with agent_at(lab, await identity.kubeconfig(door.url), tmp_path) as running:
        made = Judge(plane, shop, (NODE,), served)
        made.agent = running
        await made.agrees()
        yield made
        assert running.process.returncode in {None, 0}, running.log.read_text()  # 0: the test has stopped it
    door.fault = None


def another(judge, lab, **more):
    """Return the context of another agent in place of the judge's, which has been stopped."""
    scratch = judge.agent.log.parent
    return agent_at(lab, scratch / "kubeconfig", scratch, **more)


async def frontends(shop, node=NODE, source="n1p4"):
    """Return targets for traffic: the cluster IP from a pod and from the node, the node port from outside."""
    made = await shop.api.get(f"/api/v1/namespaces/{shop.name}/services/web")
    cluster_ip, node_port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    at = f"192.168.50.{node[1:]}"
    return [(source, cluster_ip, 80, Protocol.TCP), (node, cluster_ip, 80, Protocol.TCP), (source, at, node_port, Protocol.TCP)]


async def until_met(door, fault, times):
    await until(lambda: door.met[id(fault)] >= times)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def abandoned(lab, plane, served, tmp_path_factory):
    """Node n2's agent loses the API server before the first test here; the last one looks after it. Traffic runs all the time."""
    scratch = tmp_path_factory.mktemp("abandoned")
    away, stage = Door(plane, port=6445), Stage(plane, "abandoned")
    await stage.open()
    await stage.pods("web", "n1p3", "n2p3")
    await stage.service("web", [port(80)], app="web", type="NodePort")
    await away.open()
    try:
        async with agent_at(lab, await Identity(plane, scratch).kubeconfig(away.url), scratch, "n2") as running:
            judge = Judge(plane, stage, ("n2",), served)
            await judge.agrees()
            async with traffic(lab, await frontends(stage, "n2", "n2p4"), per_second=5):
                since = time.monotonic()
                await away.shut()
                yield judge, away, stage, since, running
    finally:
        await away.close()
    await stage.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_by_what_the_api_server_answers(fault, lab, door, shop, judge):
    """Every request, or every watch, is answered wrongly; what was known stays, and what was missed is made up for."""
    wrong = FAULTS[fault]
    async with traffic(lab, await frontends(shop)):
        door.fault = wrong
        door.cut()
        await until_met(door, wrong, 3)
        await shop.pods("more", "n2p3")  # something to catch up with
        await shop.change("web", selector={"app": "more"})
        await until_met(door, wrong, 6)
        door.fault = None
        await judge.agrees()


@pytest.mark.parametrize(("fault", "words"), [("403", "403"), ("500", "500"), ("garbage", ""), ("hang", "")])
async def test_what_goes_wrong_is_told_once_and_taken_back(fault, words, lab, door, shop, judge):
    """It is a state, in the status and on one line of the log however often it happens again; when it is over, it is over."""

    def lines():
        return sum(door.url in line for line in judge.agent.log.read_text().splitlines())

    before = lines()
    door.fault = wrong = FAULTS.get(fault) or Fault(hang=True)
    door.cut()
    await until_met(door, wrong, 2)

    async def told():
        return any(door.url in str(one) and words in str(one) for one in (await judge.agent.status())["problems"])

    await until(told, 2 * LONG, judge.agent.log.read_text)
    if fault != "hang":
        await until_met(door, wrong, 12)
        assert 1 <= lines() - before <= MOST_LINES
    door.fault = None
    door.cut()

    async def quiet():
        return not (await judge.agent.status())["problems"]

    await until(quiet, says=judge.agent.log.read_text)
    await judge.agrees()


@pytest.mark.parametrize("watch", [False, True], ids=["lists", "watches"])
async def test_nothing_is_lost_when_requests_hang(watch, lab, door, shop, judge):
    """Requests are taken and never answered; when the API server is well again, the hanging ones break as its connections do."""
    wrong = Fault(hang=True, watch=watch)
    async with traffic(lab, await frontends(shop)):
        door.fault = wrong
        async with AsyncExitStack() as context:
            if not watch:  # an agent that only watches need not list, so another one begins here
                await judge.agent.stop()
                judge.agent = await context.enter_async_context(another(judge, lab))
            door.cut()
            await until_met(door, wrong, 2)
            await shop.say("web", "n1p1", ready=False)
            door.fault = None
            door.cut()
            await judge.agrees()


async def test_an_older_api_server_gives_lists_by_pages(plane, lab, door, shop, judge):
    """Without streamed lists everything is read page by page, also what was missed while history was compacted; then 410 to every list."""
    await judge.agent.stop()
    door.fault = NO_STREAMS
    async with another(judge, lab) as judge.agent, traffic(lab, await frontends(shop)):
        await shop.service("old", [port(80)], app="web")
        await judge.agrees()
        await door.shut()
        await shop.remove("old")
        await shop.say("web", "n1p1", ready=False)
        await plane.compact()
        await plane.restart()
        await door.open()
        await until(lambda: door.met[id(NO_STREAMS)] >= 5)
        await judge.agrees()
    door.fault = too_old = Fault(status=410, body=failure(410, "Expired", "The provided continue parameter is too old"))
    async with another(judge, lab) as judge.agent, traffic(lab, await frontends(shop)):
        await shop.say("web", "n1p1", ready=True)
        await until_met(door, too_old, 6)
        door.fault = None
        await judge.agrees()


async def test_the_api_server_is_killed_and_restarted(plane, lab, door, shop, judge):
    async with traffic(lab, await frontends(shop)):
        for ready in (False, True):
            await plane.restart()
            await shop.say("web", "n2p1", ready=ready)
            await judge.agrees()


async def test_what_vanished_while_history_was_compacted_is_removed(plane, lab, door, shop, judge):
    """Deleted while nobody told, and forgotten since: what a new list does not have is gone (IN-06)."""
    await shop.service("old", [port(80)], app="web", type="NodePort")
    await judge.agrees()
    async with traffic(lab, await frontends(shop)):
        await door.shut()
        await shop.remove("old")
        await shop.service("new", [port(80)], app="web")
        await shop.end("web", "n2p2", at_once=True)
        await plane.compact()
        await plane.restart()
        await door.open()
        await judge.agrees()


async def test_a_start_without_an_api_server_takes_nothing_away(lab, door, shop, judge):
    """An agent that starts while the API server answers nothing of use leaves what an earlier one programmed (IN-07, IN-08)."""
    async with traffic(lab, await frontends(shop)):
        for fault in ("500", "half a JSON", "403"):
            await judge.agent.stop()
            door.fault = wrong = FAULTS[fault]
            async with another(judge, lab) as judge.agent:
                await until_met(door, wrong, 4)
                door.fault = None
                await judge.agrees()


async def test_the_token_is_rotated(plane, lab, door, shop, judge, identity):
    """The file gets a fresh token and the old one is worth nothing from then on, as is a connection that used it."""
    async with traffic(lab, await frontends(shop)):
        old = identity.token_file.read_text()
        fresh = await identity.renew()
        assert fresh != old
        door.worthless.add(old)
        door.tokens.clear()
        door.cut()
        await shop.say("web", "n1p1", ready=False)
        await judge.agrees()
        assert fresh in door.tokens
        # And the other way round: it is worth nothing long before there is another one.
        door.worthless.add(fresh)
        door.cut()
        before = door.met["worthless"]
        await until(lambda: door.met["worthless"] >= before + 3)
        await shop.say("web", "n1p1", ready=True)
        await identity.renew()
        await judge.agrees()


async def test_connections_die_without_a_word(plane, lab, door, shop, judge):
    """Packets of the connections that are open vanish in both directions, as when a firewall forgets them: the agent notices."""
    async with traffic(lab, await frontends(shop)):
        ports = await connections_from(lab, NODE)
        assert ports
        lines = "".join(f"-A INPUT -p tcp --sport {one} -j DROP\n-A OUTPUT -p tcp --dport {one} -j DROP\n" for one in ports)
        await at_underlay(lab, "iptables-legacy-restore", text=f"*filter\n{lines}COMMIT\n")
        try:
            await shop.say("web", "n1p1", ready=False)
            await judge.agrees(NOTICED_SECONDS)
        finally:
            await at_underlay(lab, "iptables-legacy", "-F")


async def connections_from(lab, node):
    """Return the ports of a node's connections to the control plane."""
    there = lab.place(node).addresses[Family.IPV4]
    text = await at_underlay(lab, "ss", "-Htn", "state", "established", "src", ADDRESS, "dst", there)
    return sorted({line.split()[3].rpartition(":")[2] for line in text.splitlines()})


async def at_underlay(lab, *command, text=""):
    """Run a command that may read `text`: not by the loop, for uvloop fails where a command ends before all was written to it."""
    there = lab.command(UNDERLAY, *command)
    read = {"input": text, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = await asyncio.to_thread(subprocess.run, there, check=False, **read)
    assert done.returncode == 0, done.stdout
    return done.stdout


async def test_the_clock_steps(lab, door, shop, judge, tmp_path):
    """The wall clock jumps forward and back by hours and days; time that passes is another clock, and nothing waits or ends by it."""
    await judge.agent.stop()
    clock = tmp_path / "clock"
    clock.write_text("0")
    wrapper = (sys.executable, "-P", CLOCK, clock)
    async with another(judge, lab, wrapper=wrapper) as running, traffic(lab, await frontends(shop)):
        judge.agent = running
        await judge.agrees()
        for step, ready in ((2 * HOUR, False), (-2 * HOUR, True), (-400 * DAY, False), (0, True), (400 * DAY, False)):
            draft = tmp_path / "clock.draft"
            draft.write_text(str(step))
            draft.rename(clock)
            await shop.say("web", "n1p1", ready=ready)
            await judge.agrees()
            door.cut()
            await shop.say("web", "n2p1", ready=ready)
            await judge.agrees()
    said = running.log.read_text().splitlines()[-1]
    assert datetime.fromisoformat(said.split()[0]) > datetime.now(UTC) + timedelta(days=390), "the clock did not step"


async def test_five_minutes_without_an_api_server(plane, abandoned):
    """Traffic of n2 has run since before the first test of this file; in the end its agent catches up with all that it has missed."""
    judge, away, stage, since, running = abandoned
    await stage.say("web", "n1p3", ready=False)
    await stage.service("new", [port(80)], app="web")
    await asyncio.sleep(max(0.0, since + GONE_SECONDS - time.monotonic()))
    assert running.process.returncode is None, running.log.read_text()
    await away.open()
    await judge.agrees(NOTICED_SECONDS)
