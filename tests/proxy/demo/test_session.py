"""The whole demonstration, for real: both variants pass, nothing stays behind, and a kernel that is wrong is found out."""

import asyncio
import io
import os
import subprocess

import pytest
from pointsman.proxy.demo import manifests, scene, session, trial
from pointsman.proxy.demo.show import Screen
from rich.console import Console

pytestmark = pytest.mark.kernel


def ours():
    """Return the namespaces and folders of this process that exist now."""
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in spaces if f"pointsman-{os.getpid()}-" in line]


@pytest.fixture
def screen(snapshot):
    return Screen(scene.pods(snapshot), Console(file=io.StringIO()))


@pytest.mark.parametrize("variant", ["legacy", "nft"])
async def test_everything_is_as_the_oracle_says(variant, screen, snapshot):
    report = await session.perform("iptables", variant, screen, snapshot, keep=None, table=True)
    assert [(one.case, one.differences) for one in report.findings if one.differences] == []
    assert report.removed is not None
    assert report.removed.passed, report.removed
    assert report.removed.streams_to_pod >= 2
    assert report.passed
    assert ours() == []


async def test_a_kernel_that_does_something_else_is_found_out(screen, snapshot, find):
    """Somebody else's rule masquerades the pod: its backends see another source than they must."""
    async with session.stage(snapshot, "iptables", "nft", screen.say) as stood:
        rule = ["iptables-nft", "--wait", "-t", "nat", "-I", "POSTROUTING", "-s", "10.244.1.16", "-j", "MASQUERADE"]
        await asyncio.to_thread(subprocess.run, stood.lab.command("n1", *rule), check=True)
        [finding] = await trial.run(stood.lab, stood.oracles, [find("shop/web:http", "cluster IP", "pod till-0")], screen.add)
    assert "10.244.1.11:8080 saw 10.244.1.1, not 10.244.1.16" in finding.differences


async def test_it_leaves_nothing_behind_when_it_is_interrupted(screen, snapshot):
    task = asyncio.create_task(session.perform("iptables", "nft", screen, snapshot, keep=None, table=False))
    async with asyncio.timeout(60):
        while not ours():  # noqa: ASYNC110 - the kernel does not tell
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ours() == []


async def test_keeping_it_says_how_to_look_around_and_how_to_remove_it(screen, snapshot):
    async with session.stage(snapshot, "iptables", "nft", screen.say) as stood:
        text = session.notes(stood)
        folder = stood.folder
        assert f"kill {os.getpid()}" in text
        assert stood.agents.configs["n1"].socket in text
        assert manifests.load(folder) == snapshot
    assert not folder.exists()
