"""What users have under way while a service proxy is exchanged: established connections, UDP flows, and new connections all the time.

Nothing of it may fail. Connections are held from pods, from outside and from the node itself, over every frontend that is given.
"""

import asyncio
import contextlib
import resource
import socket
from collections import Counter
from contextlib import asynccontextmanager

import msgspec
from pointsman.proxy.demo.lab_probe import Ending
from pointsman.proxy.demo.lab_servers import Answer
from pointsman.routing.route import Family, Protocol

PATIENCE = 20.0
"""Seconds that an answer may take: what is tested is that it comes. A busy machine is slow, and lost packets are sent again."""
PAUSE = 0.2
"""Seconds between two rounds over everything that is established."""
AT_ONCE = 50
SHOWN = 25
FILES = 16384


def allow_many_files():
    """Let this process, which has both ends of every connection, open as many files as that takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))


class Flow:
    """A UDP client that keeps its socket: one flow for connection tracking, which stays with its backend."""

    def __init__(self, lab, place, address, port):
        self._socket = lab.socket(place, Family.IPV6 if ":" in address else Family.IPV4, socket.SOCK_DGRAM)
        self._socket.connect((address, port))
        self.name = f"{place} -> {address}:{port}/udp"
        self.backends = Counter()

    async def ask(self):
        """Ask until an answer comes (UDP may be lost where sockets are full), and note whose it was."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while True:
                await loop.sock_sendall(self._socket, b"?")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE / 4):
                        answer = await loop.sock_recv(self._socket, 2048)
                        self.backends[msgspec.json.decode(answer, type=Answer).place] += 1
                        return

    def close(self):
        self._socket.close()


class Traffic:
    """Everything that is under way. Targets are (place, address, port, protocol)."""

    def __init__(self, lab, targets, pause=PAUSE):
        self.lab = lab
        self.targets = targets
        self.pause = pause
        self.streams = []
        self.flows = []
        self.failures = []
        self.made = 0
        self.rounds = 0
        self.slowest = 0.0
        self.over = False

    async def establish(self, streams, flows):
        """Open connections, in turn over the targets."""
        allow_many_files()
        over_tcp = [one for one in self.targets if one[3] is Protocol.TCP]
        over_udp = [one for one in self.targets if one[3] is Protocol.UDP]
        for number in range(streams):
            self.streams.append(await self.lab.stream(*over_tcp[number % len(over_tcp)][:3]))
        for number in range(flows if over_udp else 0):
            self.flows.append(Flow(self.lab, *over_udp[number % len(over_udp)][:3]))
        await self.exchange()

    async def exchange(self):
        """Use every established connection once."""
        for start in range(0, len(self.streams), AT_ONCE):
            some = self.streams[start : start + AT_ONCE]
            answered = await asyncio.gather(*(one.exchange(PATIENCE) for one in some))
            broken = [(number, one) for number, (one, well) in enumerate(zip(some, answered, strict=True), start) if not well]
            self.failures += [f"stream {number} to {one.answer.place} broke in round {self.rounds}" for number, one in broken]
        for flow in self.flows:
            try:
                await flow.ask()
            except (TimeoutError, OSError) as error:
                self.failures.append(f"{flow.name}: {error!r} in round {self.rounds}")
            if len(flow.backends) > 1:
                self.failures.append(f"{flow.name} went to {dict(flow.backends)}")
        self.rounds += 1

    async def keep_exchanging(self):
        while not self.failures and not self.over:
            await self.exchange()
            await asyncio.sleep(self.pause)

    async def keep_asking(self, per_second):
        """Open new connections at a rate; each is a task, so that a slow one holds up nobody."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as group:
            began = clock()
            while True:
                group.create_task(self._ask(*self.targets[self.made % len(self.targets)]))
                self.made += 1
                await asyncio.sleep(max(0.0, began + self.made / per_second - clock()))

    async def _ask(self, place, address, port, protocol):
        result = await self.lab.probe(place, address, port, protocol, timeout_seconds=PATIENCE)
        self.slowest = max(self.slowest, result.seconds)
        if result.ending is not Ending.ANSWERED:
            self.failures.append(f"{place} -> {address}:{port}/{protocol.value}: {result.ending.value}")

    def close(self):
        for one in (*self.streams, *self.flows):
            one.close()


@asynccontextmanager
async def traffic(lab, targets, *, streams, flows=20, per_second=200, pause=PAUSE):
    """Keep everything going while the body runs; nothing may fail."""
    made = Traffic(lab, targets, pause)
    tasks = []
    try:
        await made.establish(streams, flows)
        tasks += [asyncio.create_task(made.keep_exchanging()), asyncio.create_task(made.keep_asking(per_second))]
        yield made
        made.over = True  # an exchange that is cut short leaves an echo behind, which the next one would take for a break
        await tasks[0]
        await made.exchange()
        assert not made.failures, f"{len(made.failures)} failed:\n" + "\n".join(made.failures[:SHOWN])
        assert not tasks[1].done(), tasks[1].exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        made.close()
