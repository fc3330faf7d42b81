import subprocess
import sys
from pathlib import Path

from pointsman.proxy import version


def kube_proxy(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pointsman.proxy.cli.kube_proxy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_tells_the_release_that_it_takes_the_place_of() -> None:
    assert kube_proxy("--version").stdout == f"Kubernetes {version.release()}\n"
    assert kube_proxy("--version=raw").stdout == version.raw() + "\n"


def test_cfg_41_what_is_wrong_is_told_under_its_name() -> None:
    done = kube_proxy("--no-such-flag", "stray", "--proxy-mode=magic")
    assert done.returncode == 2
    assert done.stderr.startswith("kube-proxy: ")
    assert "--no-such-flag: unknown flag" in done.stderr
    assert "'magic' is unknown" in done.stderr


def test_proc_06_it_writes_what_is_in_force(tmp_path: Path) -> None:
    target = tmp_path / "written.conf"
    done = kube_proxy("--write-config-to", target, "--proxy_mode=ipvs", "--cluster-cidr=10.244.0.0/16", "-v=2")
    assert (done.returncode, done.stderr) == (0, "")
    text = target.read_text()
    assert "mode: ipvs\n" in text
    assert "clusterCIDR: 10.244.0.0/16\n" in text
    again = tmp_path / "again.conf"
    assert kube_proxy("--config", target, "--write-config-to", again).returncode == 0
    assert again.read_text() == text


def test_help_is_short_to_ask_for() -> None:
    assert "--iptables-masquerade-bit" in kube_proxy("-h").stdout
