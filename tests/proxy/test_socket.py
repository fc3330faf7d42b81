import asyncio
import json
import os
import socket as sockets
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs
from pointsman.proxy.cli.services import decode, fetch
from pointsman.proxy.drained import Drained
from pointsman.proxy.report import View
from pointsman.proxy.socket import SocketError, claim, serve
from pointsman.routing.route import Family, Protocol

from .views import large, small


@asynccontextmanager
async def serving(path: str, view: View) -> AsyncIterator[None]:
    server = asyncio.create_task(serve(path, lambda: view, retry=0.01))
    await until(lambda: answers(path))
    yield
    server.cancel()
    await asyncio.wait({server})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def answers(path: str) -> bool:
    with sockets.socket(sockets.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


async def test_status_and_services_are_answered(tmp_path: Path) -> None:
    path = str(tmp_path / "run" / "p.sock")
    async with serving(path, small()):
        status = await asyncio.to_thread(fetch, path, "/v1/status")
        assert json.loads(status)["node"] == "n1"
        report = decode(await asyncio.to_thread(fetch, path, "/v1/services"), path)
        assert [port.service for port in report.service_ports] == ["api", "six", "web"]
        report = decode(await asyncio.to_thread(fetch, path, "/v1/services?namespace=shop&name=web"), path)
        assert [port.service for port in report.service_ports] == ["web"]


def test_only_its_owner_may_ask(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    before = os.umask(0)
    try:
        with claim(str(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_it_is_gone_in_the_end_and_the_folder_holds_nothing_else(tmp_path: Path) -> None:
    with claim(str(tmp_path / "p.sock")):
        assert [entry.name for entry in tmp_path.iterdir()] == ["p.sock"]
    assert list(tmp_path.iterdir()) == []


def test_a_second_agent_is_told_that_there_is_one(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    with claim(path):
        with pytest.raises(SocketError, match="another pointsman answers here"), claim(path):
            pass
        assert Path(path).is_socket()


async def test_what_a_killed_agent_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    dead = sockets.socket(sockets.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with serving(str(path), small()):
        assert await asyncio.to_thread(fetch, str(path), "/v1/status")


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    path.write_text("precious")
    with pytest.raises(SocketError, match="--socket"), claim(str(path)):
        pass
    assert path.read_text() == "precious"


def test_another_agents_socket_is_not_removed_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with claim(str(path)):
        path.unlink()
        path.write_text("another")
    assert path.read_text() == "another"


async def test_the_loop_goes_on_while_a_large_answer_is_made(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with serving(path, large(1000, 10)):
        counting = asyncio.create_task(count())
        report = decode(await asyncio.to_thread(fetch, path, "/v1/services"), path)
        counting.cancel()
    assert len(report.service_ports) == 1000
    assert turns >= 50


async def test_a_path_that_another_agent_has_is_said_once_and_taken_when_it_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pointsman.proxy.socket")
    path = tmp_path / "p.sock"
    with claim(str(path)) as other:
        second = asyncio.create_task(serve(str(path), small, retry=0.01))
        await until(lambda: bool(caplog.records))
        assert "another pointsman answers here" in caplog.records[0].__dict__["error"]
        await asyncio.sleep(0.05)
        assert not second.done()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert other.fileno() >= 0
    await until(lambda: "status is served" in caplog.text)
    assert json.loads(await asyncio.to_thread(fetch, str(path), "/v1/status"))["node"] == "n1"
    second.cancel()
    await asyncio.wait({second})
    assert not path.exists()


async def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    server = asyncio.create_task(serve(str(tmp_path / "file" / "p.sock"), small, retry=60))
    await until(lambda: bool(caplog.records))
    assert "routing goes on" in caplog.text
    assert not server.done()
    server.cancel()
    await asyncio.wait({server})


async def test_pain_23_what_drains_is_answered(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    one = Drained(Family.IPV4, "10.244.1.9", 8080, "TCP 10.96.0.10:80", Protocol.TCP, "10.96.0.10", 80, 2, 1, since, since)
    async with serving(path, structs.replace(small(), draining=(one,))):
        document = json.loads(await asyncio.to_thread(fetch, path, "/v1/drain"))
    assert [row["server"] for row in document["draining"]] == ["10.244.1.9:8080"]
