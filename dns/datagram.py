"""One question to an upstream over UDP.

Every query has a socket, and with it a source port, of its own, and a random id: who wants to slip in a reply must guess both (FWD-35,
FWD-41). The socket is connected, so the kernel drops what other addresses send, and a refused port is known at once. What is not the reply
is not believed and not an end: waiting goes on until the deadline.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

LARGEST = 65535


async def exchange(message: bytes, address: str, port: int, patience: float, is_reply: Callable[[bytes], bool]) -> bytes:
    """Send a message and return the first datagram that `is_reply`; raises OSError, and TimeoutError after `patience` seconds."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes] = loop.create_future()
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        sock.connect(place(address, port))
        sock.send(message)

        def read() -> None:
            try:
                got = sock.recv(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if not found.done():
                    found.set_exception(error)
                return
            if not found.done() and is_reply(got):
                found.set_result(got)

        def give_up() -> None:
            if not found.done():
                found.set_exception(TimeoutError("i/o timeout"))

        late = loop.call_later(patience, give_up)
        loop.add_reader(sock, read)
        try:
            return await found
        finally:
            late.cancel()
            loop.remove_reader(sock)


def place(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return where to connect to; a link-local address has an interface (`fe80::1%eth0`). Raises OSError if there is none of that name."""
    plain, _, scope = address.partition("%")
    if not scope:
        return address, port
    return plain, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
