"""A laboratory with a real control plane for all tests here: started once, and the last lines of the run say what was shown.

The tests' own modules (`plane*`) and the contract table's (`table_*`) are imported by their plain names.
"""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_asyncio

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "contract")]

from plane import ControlPlane  # noqa: E402
from plane_agent import ACCOUNT, Identity, permit, rules  # noqa: E402
from plane_judge import TOTAL, ServedOnce  # noqa: E402
from plane_objects import Stage, node  # noqa: E402
from plane_proxy import Door  # noqa: E402
from pointsman.proxy.demo.lab import Laboratory  # noqa: E402
from table_services import ZONES  # noqa: E402
from table_worlds import TOPOLOGY  # noqa: E402

STAGES = itertools.count(1)
BUILD = HERE.parents[1] / "tools/e2e-build"


def session(function):
    """Make a fixture that lives as long as the session, on its event loop."""
    return pytest_asyncio.fixture(scope="session", loop_scope="session")(function)


@pytest.fixture(scope="session")
def binaries():
    """The folder of kube-apiserver, kube-controller-manager and kube-proxy; built if they are not there."""
    return Path(subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


@session
async def lab():
    built = Laboratory(TOPOLOGY)
    async with built:
        yield built
    assert built.leftovers == ()


@session
async def plane(lab, binaries, tmp_path_factory):
    """The control plane, with the Nodes of the laboratory and the agent's account."""
    async with ControlPlane(lab, tmp_path_factory.mktemp("plane"), binaries) as running:
        for name in TOPOLOGY.node_names:
            made, status = node(TOPOLOGY, name, ZONES[name])
            await running.api.create(made)
            await running.api.patch(f"/api/v1/nodes/{name}/status", status)
        await permit(running, rules())
        yield running


@session
async def served(lab):
    return ServedOnce(lab)


@session
async def door(plane):
    """The proxy that misbehaves on demand."""
    made = Door(plane)
    await made.open()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stage(plane, request):
    """An API namespace of this test. A name is used once: an API namespace takes its time to go."""
    told = request.node.name.removeprefix("test_").replace("_", "-").partition("[")[0][:40].strip("-")
    made = Stage(plane, f"{told}-{next(STAGES)}")
    await made.open()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def identity(plane, tmp_path):
    """The agent's account: a token file of this test, and kubeconfigs."""
    made = Identity(plane, tmp_path, ACCOUNT)
    await made.renew()
    return made


def pytest_collection_modifyitems(items):
    """Begin with what waits for five minutes: of two sessions the other one goes on meanwhile."""
    here = [item for item in items if item.path.parent == HERE]
    ordered = iter(sorted(here, key=lambda item: item.path.name != "test_faults.py"))
    items[:] = [next(ordered) if item.path.parent == HERE else item for item in items]


def pytest_terminal_summary(terminalreporter):
    """Say what real packets have shown."""
    if total := TOTAL:
        terminalreporter.section("a real control plane")
        terminalreporter.line(
            f"{total['cases']} cases by real packets in {total['states']} states of the API agreed with the oracle; "
            f"{total['kept']} established and {total['new']} new connections across faults, none lost"
        )
