"""One resolver: a process of its own, started with its sockets, and the line to it.

A burst of rules to program must not delay an answer, so answers are another process's work. It inherits the listening sockets and one end
of a Unix stream (`dns.feed`). What is told to it is written at once and never waits: the kernel's buffer and this process's memory take it.
`ready` is done when it reads its sockets, `ended` when it is gone, however that came.

`supervisor` keeps one running.
"""

import asyncio
import logging
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

from pointsman.dns import feed
from pointsman.dns.feed import Answer, Ask, Done, Failed, FeedError, Ready, Start, Succeeded, ToResolver, Unframer

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "pointsman.dns.resolver")
FAREWELL: Final = 7.0
"""Seconds that a resolver gets to answer what it has read; it takes 5 at most by itself (OBS-51)."""
_CHUNK: Final = 65536


class FailedError(Exception):
    """The resolver says that it cannot work as told; the text says why and what to do."""


class Resolver:
    """A running resolver; make it by `launch`."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.reason = ""
        self._reader = reader
        self._writer = writer
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._done = 0
        self._advanced = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        self.ended = asyncio.create_task(self._watch())

    @property
    def serving(self) -> bool:
        """Return whether it reads its sockets."""
        return self.ready.done() and not self.ready.cancelled() and self.ready.exception() is None and not self.ended.done()

    def tell(self, value: ToResolver) -> None:
        """Say something to it; who is gone hears nothing."""
        if not self.ended.done():
            self._writer.write(feed.frame(value))

    async def flushed(self) -> None:
        """Wait until most of what was said has left this process."""
        with suppress(ConnectionError):
            await self._writer.drain()

    async def ask(self, what: str, name: str = "", qtype: str = "A", client: str = "", timeout: float = 2.0) -> Answer | None:  # noqa: ASYNC109
        """Return what it answers; None if it does not within the time."""
        self._number += 1
        number, found = self._number, asyncio.get_running_loop().create_future()
        self._asked[number] = found
        try:
            self.tell(Ask(number, what, name, qtype, client))
            async with asyncio.timeout(timeout):
                answer: Answer = await found
                return answer
        except (TimeoutError, ConnectionError):
            return None
        finally:
            self._asked.pop(number, None)

    async def done(self, mark: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Wait until a change with this mark is in force; return whether it is, for after the time nobody is waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._done < mark and not self.ended.done():
                    await self._advanced.wait()
        return self._done >= mark

    async def end(self, *, succeeded: bool = False) -> None:
        """Let it answer what it has read, and go; `succeeded` says that another one answers at its sockets."""
        if succeeded:
            self.tell(Succeeded())
        else:
            self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await asyncio.shield(self.ended)
        if not self.ended.done():
            log.warning("the resolver does not end by itself; it is killed", extra={"pid": self.process.pid})
            self._signal(signal.SIGKILL)
            await asyncio.shield(self.ended)

    def release(self) -> None:
        """Hang up and let it go on by itself: it serves on until a successor takes its sockets, or its time is over."""
        self._listening.cancel()
        self.ended.cancel()
        self._writer.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _watch(self) -> int:
        status = await self.process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # what it said last is still to be read
                await asyncio.shield(self._listening)
        self._listening.cancel()
        self._writer.close()
        if not self.ready.done():
            self.ready.set_exception(FailedError(self.reason or f"it ended with status {status}"))
            self.ready.exception()  # whoever waits for it is told; nobody need wait
        for each in self._asked.values():
            if not each.done():
                each.set_exception(ConnectionError())
        self._advance(self._done)
        return status

    async def _listen(self) -> None:
        unframer = Unframer()
        with suppress(ConnectionError):
            while received := await self._reader.read(_CHUNK):
                try:
                    for body in unframer.bodies(received):
                        self._take(body)
                except FeedError as error:
                    log.warning("the resolver is not heard any more", extra={"error": str(error)})
                    return

    def _take(self, body: bytes) -> None:
        try:
            value = feed.for_agent(body)
        except FeedError as error:
            log.warning("the resolver says what is not understood", extra={"error": str(error)})
            return
        match value:
            case Ready():
                if not self.ready.done():
                    self.ready.set_result(value)
            case Answer():
                asked = self._asked.get(value.id)
                if asked is not None and not asked.done():
                    asked.set_result(value)
            case Done():
                self._advance(value.mark)
            case Failed():
                self.reason = value.text

    def _advance(self, mark: int) -> None:
        self._done = max(self._done, mark)
        self._advanced.set()
        self._advanced = asyncio.Event()


async def launch(start: Start) -> Resolver:
    """Start a resolver and tell it what to do. Raises OSError if no process can be started."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    inherited = {each.fd for each in start.listeners} | {fd for fd in (start.handover, start.beats) if fd >= 0}
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, "--feed", str(theirs.fileno()),
                pass_fds=(theirs.fileno(), *inherited), stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    found = Resolver(process, reader, writer)
    found.tell(start)
    return found
