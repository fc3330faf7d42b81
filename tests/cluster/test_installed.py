"""What kubelets make of the chart: Ready Pods with the rights that it names and no others; and a node without a trace when it is gone."""

import cluster_chart as chart
import pytest
from cluster_place import NODES
from cluster_traffic import difference, kernel_rules, on_node, process, read

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]


def running(pod):
    """Return the status of the agent's container."""
    [one] = [one for one in pod["status"]["containerStatuses"] if one["name"] == "pointsman"]
    return one


async def test_agents_are_ready_on_both_nodes_with_the_rights_that_the_chart_names(cluster, agents):
    [container] = chart.sections(cluster)["containers"]
    named = set(container["securityContext"]["capabilities"]["add"])
    assert set(agents) == set(NODES)
    for node, pod in agents.items():
        assert running(pod)["restartCount"] == 0
        told = chart.status(cluster, node, running(pod)["containerID"])
        for field in ("CapEff", "CapPrm", "CapBnd"):
            assert chart.capabilities(told[field]) == named, f"{node}: {field}"
        assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
        root = [line for line in mounts(cluster, node, pod) if line.split()[4] == "/"]
        assert [line.split()[5].split(",")[0] for line in root] == ["ro"]


def mounts(cluster, node, pod):
    pid = process(cluster, node, running(pod)["containerID"])
    return on_node(cluster, node, "cat", f"/proc/{pid}/mountinfo").splitlines()


async def test_the_rules_are_in_the_variant_that_kubelet_uses(cluster, agents):
    for node in agents:
        saved = {variant: on_node(cluster, node, f"iptables-{variant}-save") for variant in ("legacy", "nft")}
        [kubelets] = [variant for variant, text in saved.items() if "KUBE-KUBELET-CANARY" in text]
        assert [variant for variant, text in saved.items() if "KUBE-DST" in text] == [kubelets]


async def test_ct_22_the_init_container_made_the_settings_of_each_node(cluster, agents):
    """The kernel's own are 432000 and 60 seconds."""
    for node in agents:
        for state, seconds in (("established", 86_400), ("close_wait", 3_600)):
            setting = f"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}"
            assert int(on_node(cluster, node, "cat", setting)) == seconds, f"{node}: {setting}"


async def test_uninstalling_leaves_nothing(cluster, agents, bare):
    assert kernel_rules(cluster) != bare
    chart.remove(cluster)
    assert difference(kernel_rules(cluster), bare) == []
    for kind in ("daemonsets", "configmaps", "serviceaccounts", "clusterroles", "clusterrolebindings", "roles", "rolebindings"):
        found = [one["metadata"]["name"] for one in read(cluster, kind, "-A")["items"]]
        assert not [name for name in found if "pointsman" in name], kind
