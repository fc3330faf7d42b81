"""`pointsman dns serve`: what is wrong is told at once, with its own exit status."""

import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner
from fakes.dns import free_port
from pointsman.proxy.cli.dns_serve import command


@pytest.fixture
def corefile(tmp_path):
    path = tmp_path / "Corefile"
    path.write_text(".:53 {\n  whoami\n}\n")
    return str(path)


def test_every_finding_of_a_corefile_is_told(tmp_path):
    path = tmp_path / "Corefile"
    path.write_text(".:53 {\n  nonsense\n  forward\n}\n")
    ran = CliRunner().invoke(command, ["--corefile", str(path)], standalone_mode=False)
    assert ran.return_value == 2
    assert f"{path}:2" in ran.stderr
    assert f"{path}:3" in ran.stderr
    assert "Nothing is served" in ran.stderr


@pytest.mark.parametrize("listen", ["5353", "localhost:53", "127.0.0.1:0", "127.0.0.1:x"])
def test_a_place_is_an_address_and_a_port(corefile, listen):
    ran = CliRunner().invoke(command, ["--corefile", corefile, "--listen", listen])
    assert ran.exit_code == 2
    assert "--listen" in ran.stderr


def test_a_folder_must_be_there(corefile, tmp_path):
    ran = CliRunner().invoke(command, ["--corefile", corefile, "--manifests", str(tmp_path / "none")])
    assert ran.exit_code == 2
    assert "no such folder" in ran.stderr


def test_a_place_that_is_taken_is_status_1(corefile, capfd):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{other.getsockname()[1]}"
        ran = CliRunner().invoke(command, ["--corefile", corefile, "--listen", place], standalone_mode=False)
    assert ran.return_value == 1
    assert "cannot serve: cannot listen at 127.0.0.1" in ran.stderr + capfd.readouterr().err


def test_a_kubeconfig_that_is_not_there_is_status_1_and_ends(tmp_path):
    """As a process of its own: one that says so and stays would never be started again."""
    (tmp_path / "Corefile").write_text(".:53 {\n  kubernetes cluster.local\n}\n")
    options = ("--corefile", str(tmp_path / "Corefile"), "--kubeconfig", str(tmp_path / "none"), "--listen", f"127.0.0.1:{free_port()}")
    command = (sys.executable, "-P", "-m", "pointsman.proxy.cli.main", "dns", "serve", *options)
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert f"cannot serve: kubeconfig {tmp_path / 'none'}" in ran.stderr


def test_a_place_that_is_not_of_this_host_is_status_1(corefile, capfd):
    """Queries never come there."""
    ran = CliRunner().invoke(command, ["--corefile", corefile, "--listen", "203.0.113.253:5353"], standalone_mode=False)
    assert ran.return_value == 1
    assert "is it an address of this host?" in ran.stderr + capfd.readouterr().err
