"""A started tool: its pipes as streams, its end as something to wait for.

The event loop of the agent, uvloop, starts programs by fork, which copies the page tables of the whole process, and each page that is
written to afterwards: at 150 MB that took 25 ms and 10 ms of processor time, for each of the two or three tools that a change needs.
`subprocess` starts them by vfork, which copies nothing (2 ms), but knows no event loop. So it starts, and the loop watches: the pipes as it
watches any, the end by a descriptor of the process; a kernel older than 5.3 has none, there a thread waits.

Next: `run` feeds, reads and bounds what was started here.
"""

import asyncio
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import IO, Self

PIPE = subprocess.PIPE


class Process:
    """A program that runs, or has ended. Whoever started it waits for its end, and then closes it."""

    def __init__(self, started: "subprocess.Popen[bytes]") -> None:
        self._started = started
        self._pipes: list[asyncio.BaseTransport | IO[bytes]] = []
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Task[None] | None = None
        self._descriptor = -1
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self.stdin: asyncio.StreamWriter

    @classmethod
    async def start(cls, arguments: Sequence[str]) -> Self:
        """Start a program with pipes for its input and both outputs. Raises OSError, FileNotFoundError where there is none."""
        # It returns when the program has taken over, which is quick; nothing can be read or written before.
        made = cls(subprocess.Popen(arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0))  # noqa: ASYNC220
        connecting = asyncio.create_task(made._connect())
        try:
            made._watch()
            await asyncio.shield(connecting)
        except BaseException:
            # Cut short, uvloop closes the number of a pipe whose file object would close it again: by then it may be another file's.
            while not connecting.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({connecting})
            made.kill()
            await made.wait()
            made.close()
            raise
        return made

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._started.pid

    @property
    def returncode(self) -> int | None:
        """Return its exit status (negative: the signal that ended it), None while it runs."""
        return self._started.returncode

    async def wait(self) -> int:
        """Wait for its end; return its exit status."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended."""
        self._started.kill()

    def close(self) -> None:
        """Close the pipes, also where somebody else still holds their other ends."""
        for pipe in self._pipes:
            pipe.close()

    async def _connect(self) -> None:
        loop, started = asyncio.get_running_loop(), self._started
        self._pipes += [pipe for pipe in (started.stdout, started.stderr, started.stdin) if pipe is not None]
        for number, reader in enumerate((self.stdout, self.stderr)):  # from then on it is the transport that closes the pipe
            self._pipes[number], _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), self._pipes[number])
        write, protocol = await loop.connect_write_pipe(partial(asyncio.StreamReaderProtocol, asyncio.StreamReader()), started.stdin)
        self._pipes[-1] = write
        self.stdin = asyncio.StreamWriter(write, protocol, None, loop)

    def _watch(self) -> None:
        try:
            self._descriptor = os.pidfd_open(self._started.pid)
        except OSError:
            self._waiting = asyncio.create_task(self._wait_by_thread())
        else:
            asyncio.get_running_loop().add_reader(self._descriptor, self._over)

    async def _wait_by_thread(self) -> None:
        await asyncio.to_thread(self._started.wait)
        self._tell()

    def _over(self) -> None:
        self._started.wait()
        asyncio.get_running_loop().remove_reader(self._descriptor)
        with suppress(OSError):
            os.close(self._descriptor)
        self._tell()

    def _tell(self) -> None:
        if not self._ended.done():
            self._ended.set_result(self._started.returncode)
