"""Mode ipvs while the API server misbehaves, one fault of each sort: nothing that forwards is lost, and afterwards all is as it should be.

What is asked and how is the same for every mode (test_faults, test_access); here it is seen that this one keeps and catches up as well.
"""

import pytest
import pytest_asyncio
from plane_agent import api_agent
from plane_judge import Judge, traffic
from plane_objects import port
from plane_wait import until
from table_modes import IPVS
from test_faults import FAULTS, NODE, frontends, until_met

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.ipvs, pytest.mark.asyncio(loop_scope="session")]

PER_SECOND = 10
"""Both ends, the kernel and the control plane have one processor."""


@pytest_asyncio.fixture(loop_scope="session")
async def judge(plane, stage, served, lab, door, identity, tmp_path):
    """The judge of an agent in mode ipvs that asks through the door, from when it has agreed once."""
    await stage.pods("web", "n1p1", "n2p1", "n2p2")
    await stage.service("web", [port(80)], app="web", type="NodePort")
    door.fault = None
    async with api_agent(lab, NODE, IPVS, ("--kubeconfig", await identity.kubeconfig(door.url)), tmp_path) as running:
        made = Judge(plane, stage, (NODE,), served)
        made.agent = running
        await made.agrees()
        yield made
        assert running.process.returncode in {None, 0}, running.log.read_text()  # 0: the test has stopped it
    door.fault = None


@pytest.mark.parametrize("fault", ["403", "half a JSON", "410 within a watch"])
async def test_nothing_is_lost_by_what_the_api_server_answers(fault, lab, door, stage, judge):
    wrong = FAULTS[fault]
    async with traffic(lab, await frontends(stage), per_second=PER_SECOND):
        door.fault = wrong
        door.cut()
        await until_met(door, wrong, 3)
        await stage.pods("more", "n2p3")
        await stage.change("web", selector={"app": "more"})
        await until_met(door, wrong, 6)
        door.fault = None
        await judge.agrees()


async def test_what_vanished_while_history_was_compacted_is_removed(plane, lab, door, stage, judge):
    """The API server is killed meanwhile, and another agent begins before it is back."""
    await stage.service("old", [port(80)], app="web", type="NodePort")
    await judge.agrees()
    async with traffic(lab, await frontends(stage), per_second=PER_SECOND):
        await door.shut()
        await stage.remove("old")
        await stage.service("new", [port(80)], app="web")
        await plane.compact()
        await plane.restart()
        await judge.agent.stop()
        scratch = judge.agent.log.parent
        async with api_agent(lab, NODE, IPVS, ("--kubeconfig", scratch / "kubeconfig"), scratch) as judge.agent:
            await door.open()
            await judge.agrees()


async def test_the_token_is_rotated(lab, door, stage, judge, identity):
    async with traffic(lab, await frontends(stage), per_second=PER_SECOND):
        door.worthless.add(identity.token_file.read_text())
        door.tokens.clear()
        door.cut()
        before = door.met["worthless"]
        await until(lambda: door.met["worthless"] >= before + 2)
        fresh = await identity.renew()
        await stage.say("web", "n1p1", ready=False)
        await judge.agrees()
        assert fresh in door.tokens
