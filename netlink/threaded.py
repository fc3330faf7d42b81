"""A socket to the kernel that lives on a thread of its own: opened there, used there, closed there.

The kernel works inside the calls of whoever asks it: through a whole datagram of requests while it is sent, through a whole table while its
dump is read. That must not hold up the event loop, and a thread keeps the network namespace in which it was made. There is one thread per
socket, so that what is sent and read never mixes; what was begun on it is finished even if the caller is cancelled.

`ipvs.channel` and `conntrack.channel` say what their sockets can do.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, Self, TypeVar


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""
        ...


Held = TypeVar("Held", bound=Closable)
_T = TypeVar("_T")


class Threaded(Generic[Held]):
    """What was opened on a thread of its own; made by `opened`, used as an asynchronous context manager or closed."""

    def __init__(self, held: Held, thread: ThreadPoolExecutor) -> None:
        """Take over what was opened on this thread; `opened` does that."""
        self._held = held
        self._thread = thread
        self._closed = False

    @classmethod
    async def opened(cls, name: str, make: Callable[[], Held]) -> Self:
        """Open something on a new thread of this name, in the caller's network namespace; raises what `make` raises."""
        thread = ThreadPoolExecutor(1, name)
        try:
            held = await asyncio.get_running_loop().run_in_executor(thread, make)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(held, thread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what is on its way, close, and end the thread; a second time does nothing."""
        if not self._closed:
            self._closed = True
            await self.run(self._held.close)
            self._thread.shutdown()

    async def run(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Call a function on the thread, and so in its network namespace (for what is read from /proc/thread-self/net)."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
