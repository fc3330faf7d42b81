"""The commands that docs/install.md and docs/migrate.md show, run as they stand in a real cluster; and the quick way of migrate.md."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cluster_chart as chart
import pytest
from cluster_place import NODES
from cluster_proxy import KubeProxy
from cluster_traffic import kernel_rules, kubectl, on_node, pods
from cluster_wait import wait
from fakes.shown import blocks

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.kernel]

SECONDS = 600.0


@pytest.fixture
def desk(tmp_path, cluster):
    """A folder like a checkout, with the values of a person who has this cluster; give a function that runs a document's commands there."""
    for name in ("charts", "examples", "tools"):
        (tmp_path / name).symlink_to(chart.ROOT / name)
    shutil.copy(chart.VALUES, tmp_path / "my-values.yaml")
    programs = f"{cluster.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {f"HELM_{name}_HOME": str(tmp_path / "helm") for name in ("CACHE", "CONFIG", "DATA")}
    surroundings = {**os.environ, **kept, "PATH": programs, "KUBECONFIG": str(cluster.kubeconfig)}

    def follow(document):
        for block in blocks((chart.ROOT / document).read_text()):
            if block.run == "cluster":
                ended = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", block.script], cwd=tmp_path, env=surroundings, stdin=subprocess.DEVNULL,
                    capture_output=True, text=True, check=False, timeout=SECONDS,
                )
                assert ended.returncode == 0, f"{document}:{block.line}:\n{block.script}\n{ended.stdout}{ended.stderr}"

    return follow


def test_installing_and_taking_off_leave_no_rule(desk, cluster, bare):
    chart.remove(cluster)
    desk("docs/install.md")
    assert not chart.installed(cluster)
    wait(lambda: not pods(cluster, chart.NAMESPACE, chart.RELEASE, chart.LABEL))
    assert kernel_rules(cluster) == bare


def test_from_kube_proxy_and_back(desk, cluster, bare, archive):
    """kube-proxy's rules are in the end what they were before."""
    peer = KubeProxy(cluster, archive)
    chart.remove(cluster)
    peer.install()
    try:
        before = kernel_rules(cluster)
        desk("docs/migrate.md")
        assert not chart.installed(cluster)
        assert kernel_rules(cluster) == before
    finally:
        peer.remove()
        peer.clean()
    assert kernel_rules(cluster) == bare


def test_dep_02_in_kube_proxys_own_daemonset_only_the_image_changes(cluster, bare, archive):
    """Arguments, ConfigMap, account and rights are kube-proxy's. The peer's program is not in its image here, so its path changes too."""
    peer = KubeProxy(cluster, archive)
    chart.remove(cluster)
    peer.install()
    try:
        command = ["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=$(NODE_NAME)"]
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "kube-proxy", "command": command}]}}}}
        kubectl(cluster, "patch", "daemonset", "kube-proxy", "-n", chart.NAMESPACE, "--patch", json.dumps(patch))
        kubectl(cluster, "rollout", "status", "daemonset/kube-proxy", "-n", chart.NAMESPACE, f"--timeout={chart.LONG:.0f}s")
        assert peer.anywhere() == []
        for node in NODES:
            assert any("KUBE-DST" in on_node(cluster, node, f"iptables-{variant}-save") for variant in ("legacy", "nft"))
    finally:
        peer.remove()
        for node in NODES:
            on_node(cluster, node, Path(sys.executable).parent / "pointsman", "cleanup", check=False)
        peer.clean()
    assert kernel_rules(cluster) == bare
