"""The status socket: HTTP over a unix socket, for `pointsman services` and whoever else may read it (root).

`GET /v1/status` and `GET /v1/services[?namespace=..&name=..]` answer the documents of `report`, `GET /v1/drain` that of `drained`,
`GET /v1/picture` that of `picture`. Large ones are made and sent in pieces, and between any two of them the event loop serves everybody
else. A path that cannot be had (the agent of another node on this machine answers there, the folder is not writable) is reported and tried
again, and never stops the routing. A socket that nobody answers is left over from an agent that was killed, and is replaced; a lock on the
folder makes looking and taking one step, and leaves nothing behind.
"""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pointsman.proxy import drained, picture, report
from pointsman.proxy.report import View

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

MODE = 0o600
BACKLOG = 16
RETRY = 5.0
"""Seconds until a socket that could not be had is tried again (PROC-11)."""


class SocketError(Exception):
    """The status socket cannot be used; the text says why and what to do."""


@contextmanager
def claim(path: str) -> Iterator[socket.socket]:
    """Give the listening socket at `path`, readable by its owner only; it is removed in the end. Raises SocketError."""
    place = Path(path)
    try:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(place.parent):
            listening = _bind(place)
    except OSError as error:
        raise SocketError(f"{path}: {error.strerror or error}; choose another path with --socket") from error
    mine = place.stat().st_ino
    try:
        yield listening
    finally:
        with suppress(OSError):
            if place.stat().st_ino == mine:
                place.unlink()
        listening.close()


async def serve(path: str, view: Callable[[], View], *, retry: float = RETRY) -> None:
    """Answer requests at `path` until cancelled; while it cannot be had, say so once per reason and try again."""
    told = ""
    while True:
        try:
            with claim(path) as listening:
                if told:
                    log.info("status is served", extra={"socket": path})
                await _answer(listening, view)
        except SocketError as error:
            if str(error) != told:
                told = str(error)
                log.warning("`pointsman services` is not answered, routing goes on", extra={"error": told, "retry_seconds": retry})
            await asyncio.sleep(retry)


async def _answer(listening: socket.socket, view: Callable[[], View]) -> None:
    from aiohttp import web  # noqa: PLC0415 - loaded when serving begins, as in `health`

    runner = web.AppRunner(_application(view), access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _bind(place: Path) -> socket.socket:
    if place.is_socket():
        if answers(place):
            raise SocketError(f"{place}: another pointsman answers here; choose another path with --socket")
        place.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setblocking(False)
        before = os.umask(0o777 & ~MODE)
        try:
            listening.bind(str(place))
        finally:
            os.umask(before)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def answers(place: Path) -> bool:
    """Return whether somebody listens at the path of a status socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(place))
        except TimeoutError:  # it is there, and busy
            return True
        except OSError:
            return False
        return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _application(view: Callable[[], View]) -> "web.Application":
    from aiohttp import web  # noqa: PLC0415 - as above

    async def answer_status(_: web.Request) -> web.Response:
        return web.Response(body=report.status_document(view()), content_type="application/json")

    async def answer_services(request: web.Request) -> web.StreamResponse:
        return await in_pieces(request, report.services_document(view(), request.query.get("namespace", ""), request.query.get("name", "")))

    async def answer_picture(request: web.Request) -> web.StreamResponse:
        return await in_pieces(request, picture.document(view()))

    async def in_pieces(request: web.Request, pieces: Iterable[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in pieces:
            if piece:
                await response.write(piece)
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    async def answer_drain(_: web.Request) -> web.Response:
        now = view()
        return web.Response(body=msgspec.json.encode(drained.report(now.draining, now.routing)), content_type="application/json")

    application = web.Application()
    application.router.add_get("/v1/drain", answer_drain)
    application.router.add_get("/v1/status", answer_status)
    application.router.add_get("/v1/services", answer_services)
    application.router.add_get("/v1/picture", answer_picture)
    return application
