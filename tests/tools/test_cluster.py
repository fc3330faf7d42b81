"""tools/cluster, as far as it goes without a cluster: it teaches, refuses what makes no sense, and takes nobody's process for its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/cluster"))
sys.path.append(str(ROOT / "tests/e2e"))


def tool(*arguments, folder):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, ROOT / "tools/cluster", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    from cluster_place import Cluster  # noqa: PLC0415

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("cluster_place.LONGEST", 4096)
    made = Cluster("none")
    made.folder.mkdir(parents=True)
    return made


def test_help_names_every_command(tmp_path):
    said = tool("--help", folder=tmp_path)
    assert said.returncode == 0
    assert all(f"tools/cluster {name}" in said.stdout for name in ("up", "status", "down", "load", "enter"))


def test_wrong_usage_is_told_from_failure(tmp_path):
    assert tool("sideways", folder=tmp_path).returncode == 2


@pytest.mark.kernel
def test_where_there_is_none_it_says_so(tmp_path):
    short = Path("/tmp") / f"pm-{os.getpid()}"
    said = tool("--name", f"none-{os.getpid()}", "status", folder=short)
    assert said.returncode == 1
    assert "tools/cluster up builds it" in said.stdout


@pytest.mark.kernel
def test_a_name_that_no_interface_could_have_is_refused(tmp_path):
    said = tool("--name", "No Name", "status", folder=tmp_path)
    assert said.returncode == 1
    assert "a cluster's name is made of" in said.stderr


def test_a_process_that_was_given_the_same_id_is_not_ours(cluster):
    began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    cluster.record("n1").write_text(json.dumps({"pid": os.getpid(), "began": began}))
    assert cluster.pid("n1") == os.getpid()
    cluster.record("n1").write_text(json.dumps({"pid": os.getpid(), "began": str(int(began) - 1)}))
    assert cluster.pid("n1") == 0
    assert cluster.kill("n1") == "", "nothing is ended that is not ours"


def test_half_a_record_is_no_process(cluster):
    cluster.record("n1").write_text("{")
    assert cluster.pid("n1") == 0


def test_rules_are_compared_without_counters():
    from cluster_traffic import rules  # noqa: PLC0415

    saved = "# by hand\n*nat\n:KUBE-SERVICES - [3:180]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n"
    assert rules(saved) == ["*nat -A PREROUTING -j KUBE-SERVICES", "*nat :KUBE-SERVICES -"]
