"""The HTTP servers of the agent: how one listens, and what happens when it cannot (PROC-11).

A port that is taken never stops the routing: the server says so once per reason and tries again, five seconds later. Where the operator
wants it otherwise (`--bind-address-hard-fail`) it is an error that ends the process. An unspecified address, of either family, listens on
all addresses of both, as kube-proxy does. The HTTP library is loaded when serving begins, because that takes a tenth of a second, and the
daemon begins to serve only when the first rules are written. `health`, `metrics_server` and `health_nodeport` bring what is answered.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct
from pointsman.proxy.config import split_host_port

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until a server that could not listen tries again (PROC-11)."""

BACKLOG = 128
"""Connections that may wait to be taken."""

JSON = MappingProxyType({"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"})
TEXT = MappingProxyType({"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"})


class ListenError(Exception):
    """A server cannot listen, and the operator wants the process to end then; the text says which one and why."""


class Answer(Struct, frozen=True):
    """A response: status, body, headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = TEXT


class Question(Struct, frozen=True):
    """What of a request anybody here reads; the body only of a PUT, because health-check node ports face the world."""

    method: str = "GET"
    path: str = "/"
    query: Mapping[str, str] = {}
    body: bytes = b""


Answering = Callable[[Question], Answer | Awaitable[Answer]]
"""What answers one path."""


class Server(Struct, frozen=True):
    """A server: its name for people, where it listens (`address:port`), and what it answers by path.

    A path that ends with a slash answers for all paths below it, too.
    """

    name: str
    address: str
    paths: Mapping[str, Answering]


def listen(host: str, port: int, *, both: bool = True) -> socket.socket:
    """Return a listening socket; an unspecified address means every address, of both families unless told otherwise. Raises OSError."""
    address = ip_address(host)
    if not address.is_unspecified or not both:
        return _bound(socket.AF_INET if address.version == 4 else socket.AF_INET6, host, port)
    if socket.has_dualstack_ipv6():
        return _bound(socket.AF_INET6, "::", port, both=True)
    return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - asked for


async def serve(server: Server, *, hard_fail: bool = False, retry: float = RETRY) -> None:
    """Answer until cancelled; an empty address means nowhere.

    If it cannot listen it tries again every `retry` seconds; with `hard_fail` it raises ListenError.
    """
    if not server.address:
        return
    host, port = split_host_port(server.address)
    told = ""
    while True:
        try:
            listening = listen(host, port)
        except OSError as error:
            reason = f"{server.name} cannot be served at {server.address}: {error.strerror or error}"
            if hard_fail:
                raise ListenError(f"{reason}; free the port, or choose another one") from error
            if reason != told:
                told = reason
                log.warning("%s is not served", server.name, extra={"address": server.address, "error": reason, "retry_seconds": retry})
            await asyncio.sleep(retry)
            continue
        log.info("%s is served", server.name, extra={"address": server.address})
        async with Listening(listening, lambda question: _route(server.paths, question)):
            await asyncio.Event().wait()


class Listening:
    """A socket that is being answered, whatever the path and method, while the context lasts."""

    def __init__(self, listening: socket.socket, answering: Answering) -> None:
        self._socket = listening
        self._answering = answering
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> "Listening":
        """Begin to answer."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop answering, and close the socket."""
        await self.stop()

    async def start(self) -> None:
        """Begin to answer."""
        from aiohttp import web  # noqa: PLC0415 - see above

        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def stop(self) -> None:
        """Stop answering, and close the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._socket.close()

    async def _answer(self, request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web  # noqa: PLC0415 - see above

        body = await request.read() if request.method == "PUT" else b""  # nobody else has anything to say that is read
        answer = self._answering(Question(request.method, request.path, dict(request.query), body))
        if not isinstance(answer, Answer):
            answer = await answer
        return web.Response(status=answer.status, body=answer.body, headers={"Server": "pointsman", **answer.headers})


def _route(paths: Mapping[str, Answering], question: Question) -> Answer | Awaitable[Answer]:
    """Answer by the whole path, or by the longest path ending with a slash that the question's begins with."""
    found = paths.get(question.path)
    if found is None:
        above = [path for path in paths if path.endswith("/") and question.path.startswith(path)]
        found = paths[max(above, key=len)] if above else None
    return Answer(404, b"404 page not found\n") if found is None else found(question)


def _bound(family: socket.AddressFamily, host: str, port: int, *, both: bool = False) -> socket.socket:
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    listening.setblocking(False)
    return listening
