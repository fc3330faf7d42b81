"""The way from this machine to the cluster's API server: `python cluster_door.py ADDRESS PORT` in the control plane's namespaces.

It inherits, as descriptor 3, a socket that listens on 127.0.0.1 outside: a socket stays in the network namespace where it was made. So
kubectl and helm work from anywhere on this machine, and no address, route or interface is added to its network.
"""

import asyncio
import contextlib
import socket
import sys

LISTENER = 3
CHUNK = 1 << 16


async def pass_on(reader, writer):
    """Copy one direction until it ends."""
    with contextlib.suppress(OSError):
        while text := await reader.read(CHUNK):
            writer.write(text)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def serve(address, port):
    async def accept(reader, writer):
        there = None
        try:
            behind, there = await asyncio.open_connection(address, port)
            await asyncio.gather(pass_on(reader, there), pass_on(behind, writer))
        except OSError as error:
            print(f"{address}:{port}: {error}", file=sys.stderr, flush=True)
        finally:
            for one in filter(None, (there, writer)):
                one.close()

    server = await asyncio.start_server(accept, sock=socket.socket(fileno=LISTENER))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
