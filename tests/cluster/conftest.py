"""A real cluster of two nodes for all tests here, with the chart of this checkout in it: built once, removed in the end.

The tests' own modules (`cluster*`) and those that they share (`plane*`, `table_*`) are imported by their plain names. The last lines of the
run say what was shown.
"""

import os
import sys
import time
from pathlib import Path

import pytest
import pytest_asyncio

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "contract")]

import cluster_chart as chart  # noqa: E402
import cluster_images as images  # noqa: E402
from cluster_place import NODES, Cluster  # noqa: E402
from cluster_shop import IMAGE, Shop  # noqa: E402
from cluster_told import TOLD, closing  # noqa: E402
from cluster_traffic import Places  # noqa: E402
from cluster_wait import tool  # noqa: E402

NAME = f"pm-{os.getpid()}"
KEEP = "POINTSMAN_CLUSTER_USE"
"""Names a cluster that is there, for those who write these tests: it is used, and left."""


def session(function):
    """Make a fixture that lives as long as the session, on its event loop."""
    return pytest_asyncio.fixture(scope="session", loop_scope="session")(function)


@pytest.fixture(scope="session")
def archive():
    """The image of this checkout, as a docker-archive."""
    return Path(tool("image").split()[-1])


@pytest.fixture(scope="session")
def cluster(archive):
    """The cluster, with the image on both nodes: under its own name, as a later version, and as the Python that the shop names."""
    used = os.environ.get(KEEP)
    made = Cluster(used or NAME)
    began = time.monotonic()
    try:
        tool("cluster", "--name", made.name, "up")
        TOLD["start"] = time.monotonic() - began
        tag = images.tag_of(archive)
        images.bring(made, archive, tag=tag, also=(f"{tag}-next", IMAGE))
        yield made
    finally:
        if not used:
            tool("cluster", "--name", made.name, "down")
    assert used or not made.folder.exists()


@pytest.fixture(scope="session")
def version(archive):
    """The image's version."""
    return images.tag_of(archive).rpartition(":")[2]


@pytest.fixture(scope="session")
def bare(cluster):
    """The rules of every node before anything of ours came, but after kubelet's."""
    return chart.bare(cluster)


@session
async def places(cluster):
    made = Places(cluster)
    yield made
    made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def agents(cluster, bare):
    """The chart, installed with its own values, and its Pods Ready on both nodes."""
    chart.install(cluster)
    found = chart.all_ready(cluster)
    assert found, f"not Ready on {NODES}"
    return found


@session
async def opened(cluster, places):
    """The shop, deployed once."""
    made = Shop(cluster, places)
    made.open(chart.ROOT)
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def shop(opened, agents):
    """The shop behind pointsman."""
    return opened


def pytest_terminal_summary(terminalreporter):
    """Say what real Pods have shown."""
    if TOLD:
        terminalreporter.section("a real cluster")
        terminalreporter.line(closing())
