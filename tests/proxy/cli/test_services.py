import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pointsman.proxy.cli.services import UNREACHABLE, command
from pointsman.proxy.report import services_document

from ..views import small

BODY = b"".join(services_document(small()))
NONE = b"".join(services_document(small(), "shop", "nobody"))


@contextmanager
def agent(path: Path, body: bytes, status: str = "200 OK") -> Iterator[list[str]]:
    """An agent that answers one request; gives the request lines it saw."""
    seen: list[str] = []
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            seen.append(connection.recv(65536).decode().splitlines()[0])
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        yield seen
    finally:
        answering.join(5)
        listening.close()


def invoke(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--socket", str(path), *arguments])


def status(path: Path, *arguments: str) -> int:
    value = CliRunner().invoke(command, ["--socket", str(path), *arguments], standalone_mode=False).return_value
    assert isinstance(value, int)
    return value


def test_the_table_names_every_service_port(tmp_path: Path) -> None:
    with agent(tmp_path / "s", BODY) as seen:
        result = invoke(tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert seen == ["GET /v1/services?namespace=&name= HTTP/1.1"]
    for text in ("node n1 in zone a, mode iptables (nft)", "shop/web:http", "10.96.0.10:80 tcp", "[fd00::1]:8080", "problem: bad.yaml:3"):
        assert text in result.output


def test_json_is_the_agents_document(tmp_path: Path) -> None:
    with agent(tmp_path / "s", BODY):
        result = invoke(tmp_path / "s", "-o", "json")
    assert json.loads(result.output) == json.loads(BODY)


def test_a_service_that_is_not_routed_is_status_1(tmp_path: Path) -> None:
    with agent(tmp_path / "s", NONE) as seen:
        assert status(tmp_path / "s", "shop/nobody") == 1
    assert seen == ["GET /v1/services?namespace=shop&name=nobody HTTP/1.1"]


def test_without_an_agent_it_says_what_to_do(tmp_path: Path) -> None:
    result = invoke(tmp_path / "none")
    assert result.exit_code == UNREACHABLE
    assert "pointsman run" in result.output


def test_a_socket_that_nobody_answers(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "s"))
    dead.close()
    result = invoke(tmp_path / "s")
    assert result.exit_code == UNREACHABLE
    assert "does not answer" in result.output


@pytest.mark.parametrize(("body", "line"), [(b'{"schema": 1}', "200 OK"), (b"oops", "200 OK"), (b"", "404 Not Found")])
def test_an_answer_of_another_version_is_told(tmp_path: Path, body: bytes, line: str) -> None:
    with agent(tmp_path / "s", body, line):
        result = invoke(tmp_path / "s")
    assert result.exit_code == UNREACHABLE
    assert "version" in result.output


def test_a_name_without_namespace_is_a_wrong_command_line(tmp_path: Path) -> None:
    result = invoke(tmp_path / "s", "web")
    assert result.exit_code == 2
    assert "NAMESPACE/NAME" in result.output
