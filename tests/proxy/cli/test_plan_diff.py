import json
import shutil

from click.testing import CliRunner
from pointsman.proxy.cli.plan import command
from pointsman.proxy.demo import manifests

SHOP = str(manifests.SHOP)
OPTIONS = ("--hostname-override", "n1", "--cluster-cidr", "10.244.0.0/16")


def plan(*arguments):
    result = CliRunner().invoke(command, [*OPTIONS, *arguments], standalone_mode=False)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.return_value, result.output


def changed(tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(SHOP, folder)
    web = folder / "web.yaml"
    web.write_text(web.read_text().replace("10.244.2.16", "10.244.2.17"))
    (folder / "statsd.yaml").unlink()
    return str(folder)


def test_two_folders(tmp_path):
    status, said = plan("--diff", SHOP, changed(tmp_path))
    assert status == 1
    for part in ("- monitoring/statsd udp (IPv4)", "~ shop/web:http tcp (IPv4)", "10.244.2.16:8080 goes", "10.244.2.17:8080 comes"):
        assert part in said


def test_nothing_changes():
    assert plan("--diff", SHOP, SHOP) == (0, "nothing changes on node n1\n")


def test_what_cannot_be_read_keeps_a_gate_closed(tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(SHOP, folder)
    (folder / "broken.yaml").write_text("kind: Service\n  metadata: [\n")
    status, said = plan("--diff", SHOP, str(folder))
    assert status == 1
    assert "broken.yaml" in said
    assert "nothing that could be read changes on node n1" in said
    result = CliRunner().invoke(command, [*OPTIONS, "--diff", str(folder), str(folder), "-o", "json"], standalone_mode=False)
    assert result.return_value == 1
    [problem] = json.loads(result.stdout)["problems"]
    assert "broken.yaml" in problem


def test_two_modes_and_json_for_gates():
    status, said = plan("--manifests", SHOP, "--diff", "iptables", "ipvs", "-o", "json")
    found = json.loads(said)
    assert status == 1
    assert (found["mode"], found["changes"]) == (["iptables", "ipvs"], [])
    assert found["objects"]["IPv4"]["added"] > 20


def test_two_configuration_files(tmp_path):
    for name, bit in (("a.yaml", 14), ("b.yaml", 15)):
        (tmp_path / name).write_text(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: 10.244.0.0/16\n"
            f"iptables: {{masqueradeBit: {bit}}}\n"
        )
    status, said = plan("--manifests", SHOP, "--diff", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"))
    assert status == 1
    assert "objects of the kernel come" in said
    assert "shop/web" not in said


def test_what_is_no_side_is_told():
    result = CliRunner().invoke(command, [*OPTIONS, "--manifests", SHOP, "--diff", "nothing", "ipvs"])
    assert result.exit_code == 2
    assert "no folder of manifests, no configuration file, and no mode" in result.output
    assert CliRunner().invoke(command, [*OPTIONS, "--diff", "iptables", "ipvs"]).exit_code == 2
