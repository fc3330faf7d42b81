"""A connection that lives long: established once, then exchanging again and again, so that a break is seen and timed.

A mode must never break established connections when endpoints, rules or the mode itself change (SEM-24); streams are how that is observed.
"""

import asyncio
import socket

import msgspec
from pointsman.proxy.demo.lab_namespace import Namespaces
from pointsman.proxy.demo.lab_servers import Answer

_READ = 4096


class Stream:
    """One established TCP connection to a server of the laboratory; `answer` says who is at the other end."""

    def __init__(self, namespaces: Namespaces, place: str, source_address: str) -> None:
        self._namespaces = namespaces
        self._place = place
        self._source_address = source_address
        self._socket: socket.socket | None = None
        self._count = 0
        self._sent = 0
        self._heard = b""
        self.answer: Answer | None = None

    @property
    def exchanged(self) -> int:
        """Return how many exchanges succeeded."""
        return self._count

    async def open(self, destination: str, port: int, timeout_seconds: float = 60.0) -> None:
        """Establish the connection and learn who answers. Raises OSError (TimeoutError is one)."""
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        self._socket = self._namespaces.take(self._place, family, socket.SOCK_STREAM)
        if self._source_address:
            self._socket.bind((self._source_address, 0))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_seconds):
            await loop.sock_connect(self._socket, (destination, port))
            self.answer = msgspec.json.decode(await loop.sock_recv(self._socket, _READ), type=Answer)

    async def exchange(self, timeout_seconds: float = 60.0) -> bool:
        """Send a line and wait until it comes back; return whether it did. False means the connection is broken.

        Each line has a number of its own: echoes of an exchange that was cancelled are passed over.
        """
        if self._socket is None:
            return False
        loop = asyncio.get_running_loop()
        number, self._sent = self._sent, self._sent + 1
        try:
            async with asyncio.timeout(timeout_seconds):
                await loop.sock_sendall(self._socket, b"%d\n" % number)
                while (echo := await self._line()).isdigit() and int(echo) < number:
                    continue
        except OSError:
            return False
        if echo != b"%d" % number:
            return False
        self._count += 1
        return True

    async def _line(self) -> bytes:
        """Return the next line, without its end; nothing if the other end has closed."""
        assert self._socket is not None
        while b"\n" not in self._heard:
            text = await asyncio.get_running_loop().sock_recv(self._socket, _READ)
            if not text:
                return b""
            self._heard += text
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    async def keep_exchanging(self, interval_seconds: float = 0.05) -> None:
        """Exchange until it breaks; cancel it to stop."""
        while True:
            if not await self.exchange():
                return
            await asyncio.sleep(interval_seconds)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
