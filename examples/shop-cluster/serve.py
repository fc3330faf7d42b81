"""A server that says who answered and whom it saw asking: `python3 serve.py tcp:8080 udp:8125 ready:8081`.

Each answer is a line of JSON. A TCP connection stays open after it and echoes what it gets. At SIGTERM it ends at once, whatever is open:
the manifests let a Pod go on for some seconds before that (preStop), so that nobody is sent to one that has ended.

The port `ready` is for the readiness probe: HTTP, 200, or 503 while there is a file /tmp/closed; on a port `loading` it is always 503.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

CLOSED = Path("/tmp/closed")  # noqa: S108 - of the Pod alone
NAME = os.environ.get("POD_NAME") or socket.gethostname()


def answer(port, peer):
    """Return what is said to a client, whose IPv4 address may come written as IPv6."""
    source = peer[0].removeprefix("::ffff:")
    return json.dumps({"place": NAME, "port": port, "source": source, "source_port": peer[1]}).encode()


class Echo(asyncio.Protocol):
    """A TCP connection."""

    def __init__(self, port):
        self._port = port
        self._transport = None

    def connection_made(self, transport):
        """Say who answers."""
        self._transport = transport
        transport.write(answer(self._port, transport.get_extra_info("peername")) + b"\n")

    def data_received(self, text):
        """Give it back."""
        self._transport.write(text)


class Readiness(asyncio.Protocol):
    """What the readiness probe asks."""

    def __init__(self, loaded):
        self._loaded = loaded
        self._transport = None

    def connection_made(self, transport):
        """Wait for the question."""
        self._transport = transport

    def data_received(self, _):
        """Answer, whatever it was."""
        well = self._loaded and not CLOSED.exists()
        self._transport.write(b"HTTP/1.0 200 OK\r\n\r\nready\n" if well else b"HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready\n")
        self._transport.close()


class Answering(asyncio.DatagramProtocol):
    """A UDP socket."""

    def __init__(self, port):
        self._port = port
        self._transport = None

    def connection_made(self, transport):
        """Open."""
        self._transport = transport

    def datagram_received(self, _, peer):
        """Say who answers."""
        self._transport.sendto(answer(self._port, peer), peer)


async def main(wanted):
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    for one in wanted:
        protocol, _, port = one.partition(":")
        port = int(port)
        if protocol == "udp":
            both = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            both.bind(("::", port))
            await loop.create_datagram_endpoint(lambda port=port: Answering(port), sock=both)
        else:
            both = socket.create_server(("::", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
            made = {"tcp": lambda port=port: Echo(port), "ready": lambda: Readiness(True), "loading": lambda: Readiness(False)}[protocol]
            await loop.create_server(made, sock=both)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
