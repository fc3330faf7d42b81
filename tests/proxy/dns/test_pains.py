"""Traps of DNS on nodes that concern who leads queries where."""

import fcntl
import os
import signal

import pytest
from pointsman.routing.route import Family

from .nodes import NAME, OWN, WEB, running

pytestmark = pytest.mark.kernel


async def test_pain_76_who_holds_the_lock_of_the_rules_does_not_keep_dns_from_answering(tmp_path):
    """The legacy tools wait for the xtables lock; what the resolver knows it answers meanwhile. Nobody else is there who could."""
    async with running(tmp_path, "iptables", "legacy") as node:
        with (tmp_path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            await node.stop()
            for pid in node.resolvers():
                os.kill(pid, signal.SIGKILL)
                await node.gone(pid)
            for table in ("raw", "nat", "filter"):
                node.run("env", f"XTABLES_LOCKFILE={tmp_path / 'another'}", "iptables-legacy", "-t", table, "-F")
            await node.start()
            await node.until([WEB[Family.IPV4]], server=OWN[Family.IPV4], name=NAME)
        await node.until([WEB[Family.IPV4]], server=OWN[Family.IPV4], name=NAME)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
async def test_pain_78_rules_that_somebody_flushes_are_back_and_the_log_says_so(tmp_path, variant):
    async with running(tmp_path, "iptables", variant) as node:
        node.run(f"iptables-{variant}", "-t", "raw", "-F")
        await node.says(f"iptables-{variant}-save -t raw | grep -c KUBE-LOCAL-DNS", at_least=4)
        await node.until([WEB[Family.IPV4]])
        assert "somebody changed what is ours" in node.log.read_text()
