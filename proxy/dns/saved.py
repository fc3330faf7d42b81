"""The last known state on disk, for a start while the API server is away (REC-112).

A node that restarts during an outage of the control plane must go on answering the names that it answered before; who waits for the API
then answers nobody. So what names depend on is written now and then, and once at the end, and read at the start: it stands in, marked as
stale in the metrics, until the first complete list arrives. A file that cannot be read or written costs just that, and is told once.

The file is replaced as a whole, never half written, also where power fails; where there was no room for it, it is tried again. A version
in it keeps later programs from misreading it.
"""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import EndpointSlice, Kind, Namespace, ObjectMeta, Pod, Service, ServiceImport
from pointsman.proxy.dns.telling import Telling
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

log = logging.getLogger(__name__)

VERSION: Final = 1
PERIOD: Final = 60.0
"""Seconds between two times of writing at least: in an outage a minute's changes are missing at worst."""


class State(Struct, frozen=True, array_like=True):
    """What is kept; `imports` are None where they were not read."""

    version: int
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    namespaces: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()
    imports: tuple[ServiceImport, ...] | None = None


class Store:
    """The file; `period` is in seconds."""

    def __init__(self, path: Path, period: float = PERIOD) -> None:
        self._path = path
        self._period = period
        self._told = ""

    def load(self) -> Snapshot | None:
        """Return the state that was kept, None if there is none that can be used."""
        try:
            body = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(f"cannot be read: {error.strerror}")
            return None
        try:
            state = msgspec.msgpack.decode(body, type=State)
        except msgspec.DecodeError as error:
            self._tell(f"is not understood, and is written anew: {error}")
            return None
        return snapshot_of(state) if state.version == VERSION else None

    def keep(self, snapshot: Snapshot) -> bool:
        """Write a state; return whether that is done."""
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.msgpack.encode(state_of(snapshot)))
                file.flush()
                os.fsync(descriptor)
            beside.replace(self._path)
        except OSError as error:
            self._tell(f"cannot be written: {error.strerror}")
            with suppress(OSError):
                beside.unlink()
            return False
        self._told = ""
        return True

    async def run(self, telling: Telling) -> None:
        """Write what is known when it has changed, until cancelled; then once more."""
        kept: Snapshot | None = None
        try:
            while True:
                await asyncio.sleep(self._period)
                if telling.complete and (now := telling.snapshot) is not kept and await asyncio.to_thread(self.keep, now):
                    kept = now
        finally:
            if telling.complete and telling.snapshot is not kept:
                self.keep(telling.snapshot)

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            log.warning("the last known names are not kept for a restart", extra={"file": str(self._path), "error": text})


def state_of(snapshot: Snapshot) -> State:
    """Return what is kept of a snapshot."""
    return State(
        VERSION,
        tuple(snapshot.services.values()),
        tuple(one for slices in snapshot.slices.values() for one in slices.values()),
        tuple(snapshot.namespaces),
        tuple(snapshot.pods.values()),
        tuple(snapshot.imports.values()) if Kind.SERVICE_IMPORT in snapshot.synced else None,
    )


def snapshot_of(state: State) -> Snapshot:
    """Return the snapshot that a state stands for."""
    namespaces = tuple(Namespace(ObjectMeta(name)) for name in state.namespaces)
    imports = () if state.imports is None else (Replace(Kind.SERVICE_IMPORT, state.imports),)
    pods = (Replace(Kind.POD, state.pods),) if state.pods else ()  # none at all means that nobody had read them
    events = (
        Replace(Kind.SERVICE, state.services), Replace(Kind.ENDPOINT_SLICE, state.slices), Replace(Kind.NAMESPACE, namespaces),
    )  # fmt: skip
    return advance(EMPTY, Batch((*events, *pods, *imports)))[0]
