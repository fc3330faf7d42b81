"""`pointsman ipvs` as a command: with an agent that gives names, without one, and on a kernel that has no IPVS."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.scratch import namespace, shell
from pointsman.ipvs import wire
from pointsman.proxy.cli.ipvs import command
from pointsman.proxy.cli.services import UNREACHABLE

from .test_services import BODY, agent

PROGRAM = """
ipvsadm -A -t 10.96.0.10:80 -s wrr
ipvsadm -a -t 10.96.0.10:80 -r 10.244.1.1:8080 -m -w 3
ipvsadm -A -t 192.0.2.1:443 -s mh -b mh-port -p 60
ipvsadm -A -f 7 -s rr
"""


@pytest.fixture
def programmed() -> Iterator[None]:
    with namespace():
        shell(PROGRAM)
        yield


def invoke(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--socket", str(path)])


@pytest.mark.kernel
@pytest.mark.ipvs
@pytest.mark.usefixtures("programmed")
def test_the_list_has_names_beside_addresses(tmp_path: Path) -> None:
    with agent(tmp_path / "s", BODY):
        result = invoke(tmp_path / "s", "list")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert " ".join(lines[1]) == "TCP 10.96.0.10:80 shop/web:http wrr"
    assert " ".join(lines[2]) == "-> 10.244.1.1:8080 pod-10.244.1.1 masquerade 3 0 0"
    assert "mh, mh-port, persistent 60 s" in result.output
    assert "mark 0x7 IPv4" in result.output


@pytest.mark.kernel
@pytest.mark.ipvs
@pytest.mark.usefixtures("programmed")
def test_without_an_agent_everything_but_names_is_shown(tmp_path: Path) -> None:
    result = invoke(tmp_path / "nobody", "list")
    assert result.exit_code == 0, result.output
    assert "TCP 10.96.0.10:80" in result.stdout
    assert "names are missing" in result.stderr
    assert json.loads(invoke(tmp_path / "nobody", "stats", "-o", "json").stdout)["named"] is False


@pytest.mark.kernel
@pytest.mark.ipvs
@pytest.mark.usefixtures("programmed")
def test_one_service_as_json(tmp_path: Path) -> None:
    with agent(tmp_path / "s", BODY):
        result = invoke(tmp_path / "s", "list", "shop/web", "-o", "json")
    (virtual,) = json.loads(result.stdout)["virtualServers"]
    assert (virtual["service"], virtual["address"], virtual["reals"][0]["weight"]) == ("shop/web:http", "10.96.0.10", 3)


@pytest.mark.kernel
@pytest.mark.ipvs
@pytest.mark.usefixtures("programmed")
@pytest.mark.parametrize("arguments", [("stats",), ("stats", "--rate")])
def test_statistics_have_a_line_per_server(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = invoke(tmp_path / "nobody", *arguments)
    assert result.exit_code == 0, result.output
    assert [line.split()[-5:] for line in result.stdout.splitlines()[1:]] == [["0"] * 5] * 4


@pytest.mark.kernel
@pytest.mark.ipvs
def test_connections_are_shown(tmp_path: Path) -> None:
    with namespace(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        shell("""ip address add 10.96.0.10/32 dev lo; ip address add 10.244.1.1/32 dev lo
                 ipvsadm -A -u 10.96.0.10:53 -s rr; ipvsadm -a -u 10.96.0.10:53 -r 10.244.1.1:8080 -m""")
        client.sendto(b"question", ("10.96.0.10", 53))
        with agent(tmp_path / "s", BODY):
            result = invoke(tmp_path / "s", "connections", "-o", "json")
        table = invoke(tmp_path / "nobody", "connections")
    (one,) = json.loads(result.stdout)["connections"]
    assert (one["protocol"], one["virtualPort"], one["real"], one["pod"]) == ("UDP", 53, "10.244.1.1", "pod-10.244.1.1")
    assert "10.96.0.10:53" in table.stdout


def test_one_service_cannot_be_picked_out_without_an_agent(tmp_path: Path) -> None:
    result = invoke(tmp_path / "nobody", "list", "shop/web")
    assert result.exit_code == UNREACHABLE
    assert "pointsman run" in result.output


def test_what_is_no_service_is_a_wrong_command_line(tmp_path: Path) -> None:
    result = invoke(tmp_path / "nobody", "list", "web")
    assert result.exit_code == 2
    assert "NAMESPACE/NAME" in result.output


@pytest.mark.parametrize("name", ["list", "stats", "connections"])
def test_a_kernel_without_ipvs_is_told_with_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(wire, "FAMILY_NAME", "NO-SUCH-FAMILY")
    result = invoke(tmp_path / "nobody", name)
    assert result.exit_code == 1
    assert "modprobe ip_vs" in result.output
    assert "--proxy-mode iptables" in result.output
