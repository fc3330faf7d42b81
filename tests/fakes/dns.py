"""DNS for tests: a server that answers everything alike, a client that asks from anywhere, and the objects of a cluster with DNS."""

import asyncio
import fcntl
import functools
import itertools
import json
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype

_ids = itertools.count(1)


def query(name, qtype="A"):
    """Return a query as wire, with an id that no other one has for a while."""
    message = dns.message.make_query(name, qtype)
    message.id = next(_ids) & 0xFFFF
    return message


def roomy(sock):
    """Let much wait in a socket's queue: a busy machine must not lose what the program under test has sent."""
    sock.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE


class Everywhere:
    """A DNS server on one UDP socket, and one that listens, that gives one address for each name.

    `asked` counts what came over UDP, `answering` may be set false.
    """

    def __init__(self, sock, address, listener=None):
        self.sock, self.address, self.asked, self.answering = sock, address, 0, True
        sock.setblocking(False)
        roomy(sock)
        asyncio.get_running_loop().add_reader(sock, self._take)
        self._listener = listener
        self._serving = asyncio.get_running_loop().create_task(self._serve(listener)) if listener is not None else None

    async def _serve(self, listener):
        """Answer one question of each connection, one after the other."""
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            with connection, suppress(OSError, TimeoutError):
                async with asyncio.timeout(2.0):
                    if asked := await loop.sock_recv(connection, 4096):  # who only connects asks nothing
                        reply = self._answer(asked[2 : 2 + int.from_bytes(asked[:2], "big")])
                        await loop.sock_sendall(connection, len(reply).to_bytes(2, "big") + reply)

    def _take(self):
        with suppress(BlockingIOError):
            while True:
                wire, peer = self.sock.recvfrom(4096)
                self.asked += 1
                if self.answering:
                    self.sock.sendto(self._answer(wire), peer)

    def _answer(self, wire):
        asked = dns.message.from_wire(wire)
        reply = dns.message.make_response(asked)
        question = asked.question[0]
        wanted = dns.rdatatype.AAAA if ":" in self.address else dns.rdatatype.A
        if question.rdtype == wanted:
            text = f"{question.name} 30 IN {dns.rdatatype.to_text(wanted)} {self.address}\n"
            reply.answer = dns.message.from_text(f"id 1\n;ANSWER\n{text}").answer
        return reply.to_wire()

    def close(self):
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()
        if self._serving is not None:
            self._serving.cancel()
            self._listener.close()


async def ask(sock, server, name, qtype="A", seconds=2.0):
    """Return the reply to one question; None if none comes in time. Other replies are passed over."""
    message = query(name, qtype)
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            sock.sendto(message.to_wire(), server)
            while True:
                with suppress(OSError):
                    reply = dns.message.from_wire(await loop.sock_recv(sock, 65535))
                    if reply.id == message.id:
                        return reply
    return None


async def ask_stream(sock, server, name, qtype="A", seconds=2.0):
    """Return the reply to one question over a new connection; None if none comes in time."""
    wire = query(name, qtype).to_wire()
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(seconds):
            await loop.sock_connect(sock, server)
            await loop.sock_sendall(sock, len(wire).to_bytes(2, "big") + wire)
            found = b""
            while len(found) < 2 or len(found) < 2 + int.from_bytes(found[:2], "big"):
                if not (more := await loop.sock_recv(sock, 65535)):
                    return None
                found += more
            return dns.message.from_wire(found[2:])
    return None


def values(reply):
    """Return the values of a reply's answer as text; its rcode where there are none, None where there was no reply."""
    if reply is None:
        return None
    found = sorted(str(one) for rrset in reply.answer for one in rrset)
    return found or dns.rcode.to_text(reply.rcode())


def service(namespace, name, addresses, ports=(("http", "TCP", 80),), **spec):
    """Return a Service as JSON's value."""
    listed = [{"name": each, "protocol": protocol, "port": port} for each, protocol, port in ports]
    families = [("IPv6" if ":" in one else "IPv4") for one in addresses]
    addressed = {"clusterIP": addresses[0], "clusterIPs": list(addresses), "ipFamilies": families} if addresses else {}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}"},
        "spec": {"type": "ClusterIP", **addressed, "ports": listed, **spec},
    }  # fmt: skip


def endpoint_slice(namespace, name, addresses, ports=(("http", "TCP", 8080),), node="n1"):
    """Return an EndpointSlice as JSON's value; the family is that of the addresses."""
    family = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"namespace": namespace, "name": f"{name}-{family.lower()}", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": each, "protocol": protocol, "port": port} for each, protocol, port in ports],
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}, "nodeName": node} for one in addresses],
    }  # fmt: skip


def namespace(name):
    """Return a Namespace as JSON's value."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def write(folder, name, *objects):
    """Write objects as one file of a folder of manifests, in one step."""
    path = folder / f"{name}.yaml"
    beside = folder / f".{name}.new"
    beside.write_text("---\n".join(json.dumps(each) + "\n" for each in objects))
    beside.rename(path)


_ports = itertools.count(os.getpid() * 17)


@functools.cache
def _ledger():
    """Return the file in which each byte stands for a port, locked by the session that uses it for as long as that lives."""
    return os.open(Path(tempfile.gettempdir()) / f"pointsman-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def free_port():
    """Return a port of loopback that is free for UDP and TCP, below those that the kernel gives to whoever asks for any.

    No other session gets it, also before anything listens there.
    """
    while True:
        port = 20000 + next(_ports) % 10000
        try:
            fcntl.lockf(_ledger(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except BlockingIOError:
            continue
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, kinds[0]) as one, socket.socket(socket.AF_INET, kinds[1]) as two, suppress(OSError):
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port))
            return port
