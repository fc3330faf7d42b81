"""How the laboratory asks: one new connection from a place to an address, and what became of it.

A probe ends in one of four ways, told apart by what really arrived: an answer; a refusal (ICMP port unreachable, which is what REJECT
sends, seen by a raw ICMP socket of the place, so it is not mistaken for a closed port's reset); a reset; or silence. Every event of a probe
feeds one future, whatever socket it came from. Nothing is retried: a lost packet is a finding.

The kernel drops the first ICMP error for a TCP connection that the same host is just opening, and tells of it a second later; the raw
socket sees it at once.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from enum import Enum
from itertools import count
from random import randrange

import msgspec
from msgspec import Struct
from pointsman.proxy.demo import lab_sctp
from pointsman.proxy.demo.lab_namespace import Namespaces
from pointsman.proxy.demo.lab_servers import Answer, make_roomy, v4_payload
from pointsman.routing.route import Family, Protocol

_NUMBERS = {Protocol.TCP: socket.IPPROTO_TCP, Protocol.UDP: socket.IPPROTO_UDP, Protocol.SCTP: lab_sctp.NUMBER}
_KINDS = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_READ = 2048
_PARTS = 10
_LINGER_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"
_V4_UNREACHABLE = (3, 3)
_V6_UNREACHABLE = (1, 4)
_HEADERS = {Family.IPV4: 20, Family.IPV6: 40}
_SCTP_PORTS = (20000, 29999)


class Ending(Enum):
    """How a probe ended."""

    ANSWERED = "answered"
    REFUSED = "refused"  # ICMP port unreachable
    RESET = "reset"      # TCP reset: the packet arrived at a host where nothing listens
    SILENT = "silent"    # nothing came back in time


class Result(Struct, frozen=True):
    """How a probe ended, who answered (a place; empty if nobody) on which port, which source address it saw, and seconds taken."""

    ending: Ending
    seconds: float
    backend: str = ""
    port: int = 0
    seen_source: str = ""


Flow = tuple[int, int, str, int]
"""Protocol number, source port, destination address and port of a probe: what an ICMP error quotes."""


class _Target(Struct, frozen=True):
    """Where a probe goes."""

    family: Family
    destination: str
    port: int
    protocol: Protocol


class _Question:
    """One probe under way: everything that happens to it settles the future once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.future: asyncio.Future[Result] = self._loop.create_future()

    def settle(self, ending: Ending, answer: Answer | None = None) -> None:
        """End the probe, unless it has ended."""
        if self.future.done():
            return
        seconds = self._loop.time() - self._began
        found = Result(ending, seconds) if answer is None else Result(ending, seconds, answer.place, answer.port, answer.source)
        self.future.set_result(found)

    def hear(self, text: bytes) -> None:
        """End the probe by what a server said."""
        self.settle(Ending.ANSWERED, msgspec.json.decode(text, type=Answer))

    async def wait(self, timeout_seconds: float) -> Result:
        """Return the result; silence after the time-out.

        That is counted in parts, so that a process that stood still, on a busy machine, does not take what it has not read yet for silence.
        """
        for _ in range(_PARTS):
            done, _ = await asyncio.wait({self.future}, timeout=timeout_seconds / _PARTS)
            if done:
                break
        self.settle(Ending.SILENT)
        return await self.future


class Station:
    """A place from which probes are sent; opened on first use of each family."""

    def __init__(self, namespaces: Namespaces, place: str) -> None:
        self._namespaces = namespaces
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._refusals: dict[Family, socket.socket] = {}
        self._raw: dict[tuple[Family, str], socket.socket] = {}
        self._flows: dict[Flow, Callable[[], None]] = {}
        self._associations: dict[tuple[str, int, int], Callable[[lab_sctp.Segment], None]] = {}
        self._sctp_ports = count(randrange(*_SCTP_PORTS))  # noqa: S311 - not a secret

    async def probe(self, destination: str, port: int, protocol: Protocol, source_address: str | None, timeout_seconds: float) -> Result:
        """Open one new connection and return what became of it."""
        family = Family.IPV6 if ":" in destination else Family.IPV4
        if family not in self._refusals:
            self._listen_for_refusals(family)
        ask = self._by_sctp if protocol is Protocol.SCTP else self._by_socket
        return await ask(_Target(family, destination, port, protocol), source_address or "", timeout_seconds)

    def close(self) -> None:
        """Close the sockets that are kept between probes."""
        for one in (*self._refusals.values(), *self._raw.values()):
            self._loop.remove_reader(one.fileno())
            one.close()

    # --- refusals ----------------------------------------------------------------------------------------------------

    def _listen_for_refusals(self, family: Family) -> None:
        protocol = socket.IPPROTO_ICMP if family is Family.IPV4 else socket.IPPROTO_ICMPV6
        [raw] = self._namespaces.sockets(self._place, _KINDS[family], socket.SOCK_RAW, protocol)
        make_roomy(raw)
        self._refusals[family] = raw
        self._loop.add_reader(raw.fileno(), lambda: self._read_refusals(family))

    def _read_refusals(self, family: Family) -> None:
        raw = self._refusals[family]
        with contextlib.suppress(BlockingIOError):
            while True:
                text = raw.recv(_READ)
                flow = quoted_flow(v4_payload(text) if family is Family.IPV4 else text, family)
                refused = self._flows.get(flow) if flow is not None else None
                if refused is not None:
                    refused()

    # --- TCP and UDP ------------------------------------------------------------------------------------------------

    async def _by_socket(self, target: _Target, source: str, timeout_seconds: float) -> Result:
        family, destination, port, protocol = target.family, target.destination, target.port, target.protocol
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        one = self._namespaces.take(self._place, _KINDS[family], kind)
        question = _Question()
        flow: Flow | None = None
        try:
            one.bind((source, 0))
            flow = (_NUMBERS[protocol], one.getsockname()[1], destination, port)
            self._flows[flow] = lambda: question.settle(Ending.REFUSED)
            one.connect_ex((destination, port))
            if protocol is Protocol.UDP:
                _send(one, b"?")
            self._loop.add_reader(one.fileno(), lambda: self._read(one, family, question))
            return await question.wait(timeout_seconds)
        finally:
            if flow is not None:
                self._flows.pop(flow, None)
            self._loop.remove_reader(one.fileno())
            if protocol is Protocol.TCP:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            one.close()

    def _read(self, one: socket.socket, family: Family, question: _Question) -> None:
        """Take what came; an error may be a refusal whose ICMP message waits at the raw socket: look there first."""
        try:
            text = one.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._read_refusals(family)
            question.settle(Ending.RESET if error.errno in {errno.ECONNREFUSED, errno.ECONNRESET} else Ending.SILENT)
            return
        if text:
            question.hear(text)
        else:
            question.settle(Ending.RESET)

    # --- SCTP --------------------------------------------------------------------------------------------------------

    async def _by_sctp(self, target: _Target, source: str, timeout_seconds: float) -> Result:
        family, destination, port, protocol = target.family, target.destination, target.port, target.protocol
        raw = self._raw_socket(family, source)
        source_port = _SCTP_PORTS[0] + next(self._sctp_ports) % (_SCTP_PORTS[1] - _SCTP_PORTS[0])
        association = lab_sctp.Association(source_port, port, randrange(1, 1 << 32))  # noqa: S311
        question = _Question()

        def receive(segment: lab_sctp.Segment) -> None:
            reply, said = association.receive(segment)
            if reply:
                _send_to(raw, reply, destination)
            if said:
                question.hear(said)

        flow = (_NUMBERS[protocol], source_port, destination, port)
        self._flows[flow] = lambda: question.settle(Ending.REFUSED)
        self._associations[destination, port, source_port] = receive
        try:
            _send_to(raw, association.open(), destination)
            return await question.wait(timeout_seconds)
        finally:
            del self._flows[flow], self._associations[destination, port, source_port]

    def _raw_socket(self, family: Family, source: str) -> socket.socket:
        if (family, source) not in self._raw:
            [raw] = self._namespaces.sockets(self._place, _KINDS[family], socket.SOCK_RAW, lab_sctp.NUMBER)
            make_roomy(raw)
            if source:
                raw.bind((source, 0))
            self._raw[family, source] = raw
            self._loop.add_reader(raw.fileno(), lambda: self._read_segments(raw, family))
        return self._raw[family, source]

    def _read_segments(self, raw: socket.socket, family: Family) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                text, peer = raw.recvfrom(_READ)
                segment = lab_sctp.decode(v4_payload(text) if family is Family.IPV4 else text)
                receive = self._associations.get((peer[0], segment.source_port, segment.port)) if segment is not None else None
                if segment is not None and receive is not None:
                    receive(segment)


def quoted_flow(message: bytes, family: Family) -> Flow | None:
    """Return the flow that an ICMP message says was refused, None if it says anything else."""
    wanted = _V4_UNREACHABLE if family is Family.IPV4 else _V6_UNREACHABLE
    quoted = message[8:]
    header = _HEADERS[family]
    if len(message) < 2 or (message[0], message[1]) != wanted or len(quoted) < header:
        return None
    if family is Family.IPV4:
        header = (quoted[0] & 0x0F) * 4
        protocol, destination = quoted[9], socket.inet_ntop(socket.AF_INET, quoted[16:20])
    else:
        protocol, destination = quoted[6], socket.inet_ntop(socket.AF_INET6, quoted[24:40])
    ports = quoted[header : header + 4]
    if len(ports) < 4:
        return None
    return protocol, int.from_bytes(ports[:2]), destination, int.from_bytes(ports[2:])


def _send(one: socket.socket, text: bytes) -> None:
    """Send; a packet filter of the own host that drops the packet shows as an error here, which is silence or a refusal to come."""
    with contextlib.suppress(PermissionError, ConnectionRefusedError):
        one.send(text)


def _send_to(one: socket.socket, text: bytes, destination: str) -> None:
    with contextlib.suppress(PermissionError, ConnectionRefusedError):
        one.sendto(text, (destination, 0))
