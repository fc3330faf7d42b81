"""A real daemon on a node of the laboratory that reads the real API, as the least of all service accounts (charts/pointsman/files)."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from plane_objects import metadata
from table_agent import Agent
from table_modes import ModeUnderTest
from table_worlds import CLUSTER_CIDR

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/pointsman/files/clusterrole.yaml"
NEEDS = RULES.with_name("clusterrole-dns.yaml")
ACCOUNT = "pointsman"
PROGRAM = Path(sys.executable).parent / "pointsman"


def rules():
    """Return the rules that the chart gives to the agent."""
    return yaml.safe_load(RULES.read_text())


def needs():
    """Return what the chart gives besides where a Corefile needs it: by name, the lines that need it and the rules."""
    return yaml.safe_load(NEEDS.read_text())


async def permit(plane, permitted):
    """Create the agent's service account with these rules."""
    kind, group = "ClusterRole", "rbac.authorization.k8s.io"
    version = f"{group}/v1"
    await plane.api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(ACCOUNT, "kube-system")},
        {"apiVersion": version, "kind": kind, "metadata": metadata(ACCOUNT), "rules": permitted},
        {"apiVersion": version, "kind": f"{kind}Binding", "metadata": metadata(ACCOUNT),
         "roleRef": {"apiGroup": group, "kind": kind, "name": ACCOUNT},
         "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "kube-system"}]},
    )


class Identity:
    """A token file of the agent's account, which a test may write anew, and kubeconfigs that name it."""

    def __init__(self, plane, folder, account=ACCOUNT):
        self._plane, self._folder, self._account = plane, folder, account
        self.token_file = folder / "token"

    async def renew(self):
        """Write a fresh token, as kubelet does: by a rename."""
        draft = self._folder / "token.draft"
        draft.write_text(await self._plane.token(self._account))
        draft.rename(self.token_file)
        return self.token_file.read_text()

    async def kubeconfig(self, server=""):
        """Return the path of a kubeconfig that names the token file."""
        if not self.token_file.exists():
            await self.renew()
        return self._plane.kubeconfig(self._folder / "kubeconfig", server=server, token_file=self.token_file)


@asynccontextmanager
async def api_agent(lab, node, mode, arguments, scratch, *, wrapper=(), environment=None, program=PROGRAM):
    """Run a daemon on a node; stop it in the end. Nobody waits until it is in sync; `wrapper` is a command that runs it.

    The mode is a mode of the contract table, or a variant of iptables.
    """
    scratch = Path(scratch)
    scratch.mkdir(exist_ok=True)
    log, socket = scratch / f"{node}.log", scratch / f"{node}.sock"
    chosen = mode.arguments if isinstance(mode, ModeUnderTest) else ("--proxy-mode", "iptables", "--iptables-variant", mode)
    place = ("--hostname-override", node, "--socket", str(socket), "--oom-score-adj", "0")
    command = lab.command(node, *map(str, wrapper), str(program), "run", *chosen, *place, *CLUSTER_CIDR, *map(str, arguments))
    surroundings = {**os.environ, "XTABLES_LOCKFILE": str(scratch / f"{node}.lock"), **(environment or {})}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, env=surroundings, start_new_session=True)
    running = Agent(process, str(socket), log)
    try:
        yield running
    finally:
        await running.stop()
