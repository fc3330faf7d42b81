"""Why the agent needs the capabilities that the chart gives it, shown by the programs that it runs (docs/security.md)."""

import os
import subprocess
import uuid
from pathlib import Path

import pytest
import yaml
from pointsman.proxy.capabilities import NEEDED

CHART = Path(__file__).parents[2] / "charts/pointsman"
SET_MATCH = "-m set --match-set PROBE dst -j ACCEPT"
PLAIN = "-p tcp -m tcp --dport 80 -j ACCEPT"


@pytest.fixture
def inside(tmp_path):
    """Run a command in a network namespace of this test, with some capabilities only; return its status and what it said."""
    name = f"rights-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    subprocess.run(["ip", "netns", "add", name], check=True)

    def run(command, *held):
        kept = ",".join(("-all", *(f"+{one}" for one in held)))
        bounded = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", "--no-new-privs", "--", *command]
        ended = subprocess.run(
            ["ip", "netns", "exec", name, *bounded], capture_output=True, text=True, check=False,
            env={**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "lock")},
        )
        return ended.returncode, ended.stderr

    try:
        assert run(["ipset", "create", "PROBE", "hash:ip"], "net_admin") == (0, "")
        yield run
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def append(variant, rule):
    return [f"iptables-{variant}", "-w", "-t", "nat", "-A", "OUTPUT", *rule.split()]


@pytest.mark.kernel
@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_net_raw_is_needed_for_the_sockets_of_iptables(variant, inside):
    """The set match asks the kernel for its sets through a raw socket in both variants; legacy reads tables through one, too."""
    status, said = inside(append(variant, SET_MATCH), "net_admin")
    assert status != 0
    assert "socket" in said
    assert inside(append(variant, PLAIN), "net_admin")[0] == 0 if variant == "nft" else inside(append(variant, PLAIN), "net_admin")[0] != 0
    assert inside(append(variant, SET_MATCH), "net_admin", "net_raw") == (0, "")


@pytest.mark.kernel
@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_net_admin_is_needed_to_write_rules(variant, inside):
    assert inside(append(variant, PLAIN), "net_raw")[0] != 0


def test_the_chart_gives_what_the_agent_asks_for():
    given = yaml.safe_load((CHART / "values.yaml").read_text())["capabilities"]
    assert {f"CAP_{name}" for name in given} == set(NEEDED)


def test_each_right_has_its_reason_in_the_documents():
    text = (CHART.parents[1] / "docs/security.md").read_text()
    rules = yaml.safe_load((CHART / "files/clusterrole.yaml").read_text())
    for need in yaml.safe_load((CHART / "files/clusterrole-dns.yaml").read_text()).values():
        rules += need["rules"]
    rights = [resource for rule in rules for resource in rule["resources"]]
    mounts = ["/run/xtables.lock", "/run/pointsman", "/lib/modules", "/tmp", "/var/run/secrets/kubernetes.io/serviceaccount"]
    assert [name for name in (*NEEDED, *rights, *mounts) if f"`{name}`" not in text] == []
