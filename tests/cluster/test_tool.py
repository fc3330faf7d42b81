"""tools/cluster: building twice is harmless, half a cluster is built anew, and `down` leaves nothing on the machine."""

import os
from pathlib import Path

import pytest
from cluster_build import down
from cluster_node import control_groups
from cluster_place import MACHINES, Cluster
from cluster_traffic import read
from cluster_wait import tool

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.kernel]


@pytest.fixture
def second():
    """Another cluster beside the one of all tests."""
    made = Cluster(f"pm2-{os.getpid()}")
    yield made
    assert down(made) == []


def traces(name):
    """Return what of a cluster is on the machine."""
    found = [path for folder in control_groups() for path in folder.glob(f"{name}-*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    found += Path("/run/netns").glob(f"{name}-*")
    found += [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if name in told(path)]
    return found


def told(path):
    """Return a process's command line; nothing if it has gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_up_again_mends_half_a_cluster_and_down_leaves_nothing(second):
    tool("cluster", "--name", second.name, "up")
    before = {machine: second.pid(machine) for machine in MACHINES}
    tool("cluster", "--name", second.name, "up")
    assert {machine: second.pid(machine) for machine in MACHINES} == before, "one that runs is left as it is"
    assert second.kill("n1") == ""
    assert "gone" in tool("cluster", "--name", second.name, "status", check=False)
    tool("cluster", "--name", second.name, "up")
    assert second.pid("n1") not in before.values()
    assert {one["metadata"]["name"] for one in read(second, "nodes")["items"]} == {"n1", "n2"}
    assert "nothing of it is left" in tool("cluster", "--name", second.name, "down")
    assert traces(second.name) == []
    assert not second.folder.exists()
