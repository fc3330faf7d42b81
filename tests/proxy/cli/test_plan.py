import json
from pathlib import Path

from click.testing import CliRunner, Result
from pointsman.proxy.cli.plan import command

NODE = """\
kind: Node
apiVersion: v1
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
"""
SERVICE = """\
kind: Service
apiVersion: v1
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.1.11]}]
ports: [{name: http, port: 8080, protocol: TCP}]
"""

BAD = "kind: Service\napiVersion: v1\nmetadata: {name: bad, namespace: shop}\nspec: {ports: [{port: many}]}\n"


def plan(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--manifests", str(folder), "--cluster-cidr=10.244.0.0/16", *arguments], standalone_mode=False)


def test_text_is_what_the_modes_own_tools_would_be_given(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(NODE + SERVICE)
    result = plan(tmp_path)
    assert result.return_value == 0, result.output
    assert result.stderr == ""
    assert "## IPv4\n" in result.stdout
    assert "*nat\n" in result.stdout
    assert "KUBE-SVC-67NZLRHBNDSAWJRO" in result.stdout
    assert "--to-destination 10.244.1.11:8080" in result.stdout
    assert result.stdout.index("## IPv4") < result.stdout.index("## IPv6")


def test_json_is_sorted_by_service_port(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(NODE + SERVICE)
    result = plan(tmp_path, "-o", "json")
    document = json.loads(result.stdout)
    assert document["node"] == "n1"
    assert document["mode"] == "iptables"
    assert document["problems"] == []
    owned = document["families"]["IPv4"]["shop/web:http tcp"]
    assert any("10.244.1.11:8080" in entry["value"] for entry in owned)
    assert all(set(entry) == {"key", "value"} for entry in owned)
    assert list(document["families"]["IPv6"]) == ["static"]


def test_a_broken_object_is_told_and_the_rest_is_printed(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(NODE + SERVICE)
    (tmp_path / "bad.yaml").write_text(BAD)
    result = plan(tmp_path)
    assert result.return_value == 1
    assert "bad.yaml" in result.stderr
    assert "shop/bad" in result.stderr
    assert "KUBE-SVC-67NZLRHBNDSAWJRO" in result.stdout


def test_a_refused_address_is_told(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(NODE + SERVICE.replace("clusterIP:", "externalIPs: [192.0.2.1], clusterIP:"))
    result = plan(tmp_path, "--external-ips=deny")
    assert result.return_value == 1
    assert "refused: Service shop/web: spec.externalIPs[0]" in result.stderr


def test_the_same_folder_gives_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(NODE + SERVICE)
    assert plan(tmp_path).stdout == plan(tmp_path).stdout


def test_without_a_folder_it_is_a_wrong_command_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--manifests", str(tmp_path / "none"), "--proxy-mode=magic"])
    assert result.exit_code == 2
    assert "no such folder" in result.output
    assert "'magic' is unknown" in result.output


def test_an_empty_folder_is_a_plan_too(tmp_path: Path) -> None:
    result = plan(tmp_path, "--hostname-override=n1")
    assert "KUBE-SERVICES" in result.stdout
