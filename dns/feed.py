"""What agent and resolver say to each other, over a Unix stream: frames of 4 bytes length (big-endian) and a msgpack value.

The agent speaks first: `Start` (sockets, Corefile), then what the cluster looks like: a `Change` with `begin` opens a complete list, which
may span many frames, and `Synced` closes it; what the list did not name is gone then, not before, so a repeated list never makes a hole in
the answers. Later `Change`s are differences; all parts of one are applied between two answers, and what changes very much at once comes as
several of them (`journal.portions`).

The resolver says `Ready` once it reads its sockets, `Answer` to each `Ask`, and `Failed` if it cannot work as told. Both ends ignore tags
that they do not know, so that a new agent can still talk to the old resolver while it takes its sockets over.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct
from pointsman.dns.facts import PodFact, ServiceFact
from pointsman.dns.tally import Sample

LIMIT = 64 * 1024 * 1024
"""No frame is longer; a peer that announces one is not ours."""


class Listener(Struct, frozen=True, array_like=True):
    """An inherited socket: the address it is bound to, and the port by which the Corefile's keys name it (0: all of them)."""

    fd: int
    transport: str
    address: str
    port: int
    key_port: int


class Start(Struct, frozen=True, tag="start"):
    """What the resolver must do.

    `corefile` is a path. `everywhere` means that every server block answers on these sockets, whatever port and address it names. `cluster`
    says that facts will come. `local` are the addresses to name as name server (REC-94). `worker` numbers the workers from 0.
    `heartbeat` has the addresses to name while this process works, by the file of the list (`heartbeat`). `handover` is an inherited Unix
    socket at which a successor may ask for the sockets (`handover`), -1 if there is none; without an agent the resolver then serves on for
    `linger` seconds, and ends at once if that is 0. `client_rate` is how many queries a second one client may ask at each socket, on
    average (0: no limit); twice as many may come at once.

    `search_ahead` lets the last step of a search path begin at the first (`speculation`). `reads` is what the agent reads of the cluster: a
    Corefile that needs more is not taken over (`needs`); None if that is not known. `beats` is inherited memory in which several workers
    note that they work (`heartbeat.Peers`), -1 if there is only one.
    """

    listeners: tuple[Listener, ...]
    corefile: str
    everywhere: bool = False
    cluster: bool = True
    node: str = ""
    local: tuple[str, ...] = ()
    worker: int = 0
    heartbeat: dict[str, tuple[str, ...]] = {}
    handover: int = -1
    linger: float = 0.0
    client_rate: float = 0.0
    search_ahead: bool = True
    reads: dict[str, str] | None = None
    beats: int = -1


class Change(Struct, frozen=True, tag="change", omit_defaults=True):
    """What is new, by kind, and what is gone, by name; `serial` is the SOA's (0: as before). `begin` opens a complete list.

    `imports` are Services of other clusters, with the serial of zones that hold them; `imports_known` and `pods_known` say that now all of
    them are known.

    A `mark` other than 0 asks for `Done` once no answer says anymore what is gone. `triggered` are the moments (seconds since the epoch) at
    which the cluster decided on changes of endpoints that are in it; how long they took is counted when it is in force (OBS-17).
    """

    services: tuple[ServiceFact, ...] = ()
    services_gone: tuple[tuple[str, str], ...] = ()
    imports: tuple[ServiceFact, ...] = ()
    imports_gone: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[str, ...] = ()
    namespaces_gone: tuple[str, ...] = ()
    pods: tuple[PodFact, ...] = ()
    pods_gone: tuple[tuple[str, str], ...] = ()
    serial: int = 0
    begin: bool = False
    mark: int = 0
    triggered: tuple[float, ...] = ()
    imports_serial: int = 0
    imports_known: bool = False
    pods_known: bool = False


class Synced(Struct, frozen=True, tag="synced"):
    """The complete list is complete. `stale`: it is the last known state, the API server has not been reached since (REC-112).

    `imports_known`, `pods_known`: it holds all imports, all Pods; otherwise nobody knows yet which there are.
    """

    stale: bool = False
    imports_known: bool = False
    pods_known: bool = False


class Reload(Struct, frozen=True, tag="reload"):
    """Read the Corefile again now."""


class Succeeded(Struct, frozen=True, tag="succeeded"):
    """Another resolver answers at the same sockets now: end, and leave the signs of life to it."""


OTHER: Final = "other"
"""What the resolver reads is not what it was asked about."""


class Ask(Struct, frozen=True, tag="ask"):
    """A question of the agent.

    `pulse` only wants an answer; `try` wants to know why the Corefile with a fingerprint (as `name`) cannot be taken over, if so: a row
    says `error` and the reason, or OTHER if the file says something else by now. Further there are `stats`, `top`, `storms`, and `explain`
    with a name, a type and the address of who would ask.
    """

    id: int
    what: str
    name: str = ""
    qtype: str = "A"
    client: str = ""


class Ready(Struct, frozen=True, tag="ready"):
    """The sockets are being read; `synced` says whether the cluster is known."""

    synced: bool


class Answer(Struct, frozen=True, tag="answer"):
    """What an `Ask` got: counters, or rows of text for people; `rcode` is that of a name that was explained (`NXDOMAIN`), if it has one."""

    id: int
    samples: tuple[Sample, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    rcode: str = ""


class Done(Struct, frozen=True, tag="done"):
    """A `Change` with this mark, and all before it, is in force."""

    mark: int


class Failed(Struct, frozen=True, tag="failed"):
    """The resolver cannot work as told; `text` says why and what to do."""

    text: str


ToResolver = Start | Change | Synced | Reload | Succeeded | Ask
ToAgent = Ready | Answer | Done | Failed

_encoder = msgspec.msgpack.Encoder()


class FeedError(ValueError):
    """What came over the feed is not what was agreed."""


def frame(value: ToResolver | ToAgent) -> bytes:
    """Return a value as it is sent."""
    body = _encoder.encode(value)
    return len(body).to_bytes(4, "big") + body


class Unframer:
    """Collects received bytes and gives whole frames; the rest waits for more."""

    def __init__(self) -> None:
        self._held = bytearray()

    def bodies(self, received: bytes) -> Iterator[bytes]:
        """Yield the bodies that are whole now. Raises FeedError on a length that cannot be."""
        held = self._held
        held += received
        at = 0
        try:
            while len(held) - at >= 4:
                length = int.from_bytes(held[at : at + 4], "big")
                if length > LIMIT:
                    raise FeedError(f"a frame of {length} bytes: this is not the resolver's feed")
                if len(held) - at < 4 + length:
                    return
                body = bytes(held[at + 4 : at + 4 + length])
                at += 4 + length
                yield body
        finally:
            del held[:at]


_to_resolver: msgspec.msgpack.Decoder[ToResolver] = msgspec.msgpack.Decoder(ToResolver)
_to_agent: msgspec.msgpack.Decoder[ToAgent] = msgspec.msgpack.Decoder(ToAgent)


def for_resolver(body: bytes) -> ToResolver:
    """Return what the agent said. Raises FeedError."""
    try:
        return _to_resolver.decode(body)
    except msgspec.DecodeError as error:
        raise FeedError(f"cannot be read: {error}") from error


def for_agent(body: bytes) -> ToAgent:
    """Return what the resolver said. Raises FeedError."""
    try:
        return _to_agent.decode(body)
    except msgspec.DecodeError as error:
        raise FeedError(f"cannot be read: {error}") from error
