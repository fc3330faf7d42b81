"""Servers: where they listen, what they do when they cannot, and how paths are found."""

import asyncio
import socket

import aiohttp
import pytest
from pointsman.proxy.servers import Answer, ListenError, Question, Server, listen, serve


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        assert isinstance(port, int)
        return port


async def fetch(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str, dict[str, str]]:
    """Ask until somebody answers, a minute at most."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.request(method, url, data=body) as response:
                    return response.status, await response.text(), dict(response.headers)
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


def say(text: str):
    return lambda question: Answer(200, f"{text} {question.method} {question.path} {dict(question.query)} {question.body!r}".encode())


async def later(question: Question) -> Answer:
    await asyncio.sleep(0)
    return Answer(201, b"later")


class Running:
    """A server while the context lasts."""

    def __init__(self, server: Server, **options) -> None:
        self._work = serve(server, **options)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._work)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


async def test_paths_are_answered_by_name_and_by_what_they_begin_with() -> None:
    port = free_port()
    paths = {"/livez": say("live"), "/debug/": say("any"), "/debug/pprof/": say("profile"), "/later": later}
    at = f"http://127.0.0.1:{port}"
    async with Running(Server("tests", f"127.0.0.1:{port}", paths)):
        status, text, headers = await fetch(f"{at}/livez?verbose=1")
        assert (status, text) == (200, "live GET /livez {'verbose': '1'} b''")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert (await fetch(f"{at}/debug/flags/v", "PUT", b"4"))[1] == "any PUT /debug/flags/v {} b'4'"
        assert (await fetch(f"{at}/debug/pprof/heap"))[1].startswith("profile")
        assert (await fetch(f"{at}/later"))[:2] == (201, "later")
        assert (await fetch(f"{at}/livez/more"))[:2] == (404, "404 page not found\n")


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
async def test_an_unspecified_address_listens_on_both_families(address: str) -> None:
    with listen(address, 0) as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), timeout=60):
                pass


def test_a_given_address_listens_there_only() -> None:
    with listen("127.0.0.1", 0) as listening, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", listening.getsockname()[1]), timeout=60)


async def test_proc_11_a_taken_port_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        running = Running(Server("health", f"127.0.0.1:{port}", {"/livez": say("live")}), retry=0.01)
        await running.__aenter__()
        async with asyncio.timeout(60):
            while "health is not served" not in caplog.text:  # noqa: ASYNC110 - a log is no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    assert (await fetch(f"http://127.0.0.1:{port}/livez"))[0] == 200
    assert caplog.text.count("health is not served") == 1
    await running.__aexit__()


async def test_proc_11_with_hard_fail_a_taken_port_is_an_error() -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        server = Server("metrics", f"127.0.0.1:{squatter.getsockname()[1]}", {})
        with pytest.raises(ListenError, match=r"metrics cannot be served at 127\.0\.0\.1:.*free the port"):
            await serve(server, hard_fail=True)


async def test_an_empty_address_serves_nothing() -> None:
    await serve(Server("health", "", {}))
