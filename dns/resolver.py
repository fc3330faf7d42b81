"""The resolver process: `python -m pointsman.dns.resolver --feed FD`, started by the agent with its sockets.

It hears over the feed what to do and what the cluster looks like, and answers until it is told to end: by SIGTERM, by a successor that
took its sockets (`handover`), or by silence of the agent for longer than it was told to linger. A list that arrives is taken over in
slices, with answers in between. It begins to read its sockets when the cluster is known, or has been waited for long enough (REC-111),
and beats (`heartbeat`) only while it knows the cluster: until then the Service rules lead queries elsewhere.

Exit status: 0 ended as told, 1 could not work as told (said over the feed, too), 2 wrong arguments.
"""

import asyncio
import gc
import logging
import random
import resource
import signal
import socket
import sys
import time
from typing import Final

import msgspec
import uvloop
from pointsman.dns.corefile.options import KubernetesOptions, ReloadOptions
from pointsman.dns.explain import Explained, explain, storms, top
from pointsman.dns.feed import (
    Answer,
    Ask,
    Change,
    Done,
    Failed,
    FeedError,
    Ready,
    Reload,
    Start,
    Succeeded,
    Synced,
    ToAgent,
    Unframer,
    for_resolver,
    frame,
)  # fmt: skip
from pointsman.dns.handover import Giver
from pointsman.dns.heartbeat import Heartbeat, Peers
from pointsman.dns.lines import Lines
from pointsman.dns.serving import Serving, UnusableError

log = logging.getLogger(__name__)

SLICE: Final = 0.001
"""Seconds of hearing the agent after which queries have their turn."""
CHUNK: Final = 262144
FILES: Final = 65536
LAST_WORDS: Final = 1.0
"""Seconds that who collects the log is waited for at the end."""
UNWATCHED: Final = 1.0
"""Seconds between two looks whether another Corefile says `reload`."""
WAITING: Final = 0.5
"""Seconds between two lines that say that the cluster is waited for."""


class Process:
    """The life of the resolver."""

    def __init__(self, start: Start, writer: asyncio.StreamWriter, serving: Serving) -> None:
        self.ended = asyncio.Event()
        self._start = start
        self._writer = writer
        self._serving = serving
        self._known = asyncio.Event()
        self._heart = Heartbeat(start.heartbeat, Peers(start.beats, start.worker) if start.beats >= 0 else None)
        self._beating = False
        self._succeeded = False
        self._open = False
        self._tasks: set[asyncio.Task[None]] = set()
        if not serving.corefile.all(KubernetesOptions) or not start.cluster:
            self._known.set()

    async def run(self) -> None:
        """Begin to answer, and go on until told to end."""
        await self._await_cluster()
        if self.ended.is_set():
            return
        await self._serving.open()
        self._open = True
        self._settle_memory()
        self.say(Ready(self._serving.catalog.synced))
        self._beat()
        giver = self._giver()
        self._spawn(self._watch_corefile())
        await self.ended.wait()
        for task in self._tasks:
            task.cancel()
        self._heart.stop(keep=self._succeeded)
        await self._serving.close()
        if giver is not None:
            giver.stop()

    def say(self, value: ToAgent) -> None:
        """Tell the agent something; who is gone hears nothing."""
        if not self._writer.is_closing():
            self._writer.write(frame(value))

    def hear(self, body: bytes) -> None:
        """Do what the agent says."""
        try:
            value = for_resolver(body)
        except FeedError as error:
            log.warning("the agent says what is not understood: %s", error)
            return
        match value:
            case Change():
                self._serving.apply(value)
                if value.mark:
                    self.say(Done(value.mark))
            case Synced():
                self._serving.apply(value)
                self._known.set()
                self._beat()
            case Reload():
                self._serving.reload(asked=True)
            case Succeeded():
                self._succeed()
            case Ask():
                self._spawn(self._answer(value))
            case Start():
                log.warning("the agent says twice how to start; the first time counts")

    def alone(self) -> None:
        """Note that the agent is gone: end, now or later."""
        if self._start.linger <= 0:
            self.ended.set()
        else:
            log.warning("the agent is gone; the last known state is served for %g s", self._start.linger)
            asyncio.get_running_loop().call_later(self._start.linger, self.ended.set)

    async def _await_cluster(self) -> None:
        """Wait until the cluster is known, but not for ever (REC-111)."""
        deadline = time.monotonic() + self._serving.patience
        while not self._known.is_set() and not self.ended.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                log.warning("plugin/kubernetes: starting server with unsynced Kubernetes API")
                return
            try:
                async with asyncio.timeout(min(left, WAITING)):
                    await self._known.wait()
            except TimeoutError:
                log.info("plugin/kubernetes: waiting for Kubernetes API before starting server")

    def _beat(self) -> None:
        if self._open and self._known.is_set() and not self._beating:
            self._beating = True
            self._heart.start()

    def _giver(self) -> Giver | None:
        if self._start.handover < 0:
            return None
        listening = socket.socket(fileno=self._start.handover)
        giver = Giver(listening, self._start.listeners, ended=self._succeed)
        giver.start()
        return giver

    def _succeed(self) -> None:
        self._succeeded = True
        self.ended.set()

    async def _watch_corefile(self) -> None:
        """Look for another content of the Corefile, as `reload` says (OBS-50)."""
        while True:
            option = self._serving.corefile.one(ReloadOptions)
            if option is None:  # until one that says so was asked for
                await asyncio.sleep(UNWATCHED)
                continue
            await asyncio.sleep(max(1.0, option.interval + random.uniform(-option.jitter, option.jitter)))  # noqa: S311 - no secret
            await asyncio.to_thread(self._serving.reader.read)  # so that a long one is parsed beside the answers
            self._serving.reload()

    async def _answer(self, ask: Ask) -> None:
        match ask.what:
            case "stats":
                await self._serving.settle()
                self.say(Answer(ask.id, samples=self._serving.samples()))
            case "top":
                self.say(Answer(ask.id, rows=top(self._serving)))
            case "storms":
                self.say(Answer(ask.id, rows=storms(self._serving)))
            case "explain":
                found = await self._explained(ask)
                self.say(Answer(ask.id, rows=found.rows, rcode=found.rcode))
            case "pulse":
                self.say(Answer(ask.id))
            case "try":
                refusal = self._serving.refusal(ask.name)
                self.say(Answer(ask.id, rows=(refusal,) if refusal else ()))
            case _:
                self.say(Answer(ask.id, rows=(("error", f"this resolver does not know how to tell {ask.what!r}"),)))

    async def _explained(self, ask: Ask) -> Explained:
        """Explain a name; what breaks on the way is an answer, too: who asks is told nothing else."""
        try:
            return await explain(self._serving, ask.name, ask.qtype, ask.client)
        except (ArithmeticError, LookupError, ValueError) as error:
            log.exception("a name could not be explained", extra={"question": ask.name, "type": ask.qtype})
            return Explained((("error", f"the resolver failed over this name: {type(error).__name__}: {error}; its log says where"),))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settle_memory(self) -> None:
        """Leave what is there now out of every later look for garbage: those looks would be pauses."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)


async def listen(reader: asyncio.StreamReader, unframer: Unframer, process: Process) -> None:
    """Hear the agent until it is gone, in slices of time."""
    try:
        while received := await reader.read(CHUNK):
            began = time.monotonic()
            for body in unframer.bodies(received):
                process.hear(body)
                if time.monotonic() - began > SLICE:
                    await asyncio.sleep(0)
                    began = time.monotonic()
    except ConnectionError as error:  # it was killed before it read all that was said to it
        log.info("the agent hung up: %s", error.strerror or error)
    except FeedError as error:
        log.error("the agent is not heard anymore: %s", error)  # noqa: TRY400 - the text says it all


def unheard(hearing: asyncio.Task[None], process: Process) -> None:
    """Take note that nobody is heard anymore, however that came: nobody else would end this process."""
    if not hearing.cancelled():
        process.alone()


async def serve(fd: int, lines: Lines) -> int:
    """Work as the agent says; return the exit status."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd))
    unframer = Unframer()
    bodies: list[bytes] = []
    while not bodies:
        received = await reader.read(CHUNK)
        if not received:
            return 1
        bodies.extend(unframer.bodies(received))
    start = for_resolver(bodies.pop(0))
    if not isinstance(start, Start):
        log.error("the agent begins with %s instead of how to start", type(start).__name__)
        return 1
    try:
        process = Process(start, writer, Serving(start, lines.tell))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, process.ended.set)
        loop.add_signal_handler(signal.SIGINT, process.ended.set)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGUSR1, process.hear, msgspec.msgpack.encode(Reload()))
        for body in bodies:
            process.hear(body)
        hearing = loop.create_task(listen(reader, unframer, process))
        hearing.add_done_callback(lambda task: unheard(task, process))
        await process.run()
        hearing.cancel()
    except UnusableError as error:
        log.error("%s", error)  # noqa: TRY400 - the text says it all
        writer.write(frame(Failed(str(error))))
        await writer.drain()
        return 1
    finally:
        lines.flush(LAST_WORDS)
    return 0


def main(arguments: list[str]) -> int:
    """Run the process."""
    if len(arguments) != 2 or arguments[0] != "--feed" or not arguments[1].isdigit():
        sys.stderr.write("usage: python -m pointsman.dns.resolver --feed FD\nThe agent starts it: see `pointsman dns serve --help`.\n")
        return 2
    lines = Lines()
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else min(hard, FILES), hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(int(arguments[1]), lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
