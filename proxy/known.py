"""The wanted side for commands that explain: from the running agent, or read from manifests or the API for the occasion.

An agent's answer is the truth about what this node follows; so it is asked unless flags name another source. Without an agent the same way
is gone once (decode, route), with this machine's own addresses, so that what comes out is what an agent here would want.
"""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import msgspec
from msgspec import Struct, structs
from pointsman.dataplane.errors import KernelError
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.events import Batch, Problem
from pointsman.kube.objects import Kind
from pointsman.proxy import facts as facts_of
from pointsman.proxy import node, report
from pointsman.proxy.cli.services import UnreachableError, decode, fetch
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host
from pointsman.proxy.picture import Picture, picture
from pointsman.proxy.report import ServicePortReport, View
from pointsman.proxy.source import open_source
from pointsman.routing.build import build
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

READ_SECONDS = 60.0
"""How long a source may take to be read once."""


class UnreadError(Exception):
    """The wanted side could not be had; the text says why and what to do."""


class Known(Struct, frozen=True):
    """The picture, where it comes from in words, and how to ask for one Service's ports."""

    picture: Picture
    origin: str
    socket: str = ""
    view: View | None = None

    @property
    def live(self) -> bool:
        """Return whether an agent gave it."""
        return self.view is None

    def ports(self, namespace: str, name: str) -> tuple[ServicePortReport, ...]:
        """Return what is known about a Service's ports, with why endpoints are left out."""
        if self.view is None:
            return decode(fetch(self.socket, f"/v1/services?namespace={namespace}&name={name}"), self.socket).service_ports
        keys = [key for key in self.view.routing.routes if _is_of(key.port_name, namespace, name)] if self.view.routing else []
        return tuple(report.service_port(self.view, key) for key in keys)


def _is_of(port: object, namespace: str, name: str) -> bool:
    return (getattr(port, "namespace", ""), getattr(port, "name", "")) == (namespace, name)


def from_agent(path: str) -> Known:
    """Ask the running agent; raises UnreachableError."""
    try:
        found = msgspec.json.decode(fetch(path, "/v1/picture"), type=Picture)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"{path}: the agent's answer is not understood ({error}); use the same version of pointsman") from error
    return Known(found, f"the agent at {path}", socket=path)


def from_source(config: Config, *, host: Host | None = None) -> Known:
    """Read the source that the configuration names, once; `host` stands for this machine. Raises UnreadError."""
    if config.manifests and not Path(config.manifests).is_dir():
        raise UnreadError(f"--manifests={config.manifests}: no such folder")
    view = asyncio.run(_viewed(config, host))
    return Known(picture(view), config.manifests or config.kubeconfig or config.master or "the Kubernetes API", view=view)


def from_snapshot(config: Config, snapshot: Snapshot, host: Host, variant: str = "") -> Known:
    """Return what an agent with this configuration would want of a snapshot."""
    view = _view(config, snapshot, host, variant)
    return Known(picture(view), "a snapshot", view=view)


async def _viewed(config: Config, host: Host | None) -> View:
    try:
        snapshot, problems = await snapshot_of(config)
        return structs.replace(_view(config, snapshot, host or await node.read_host(), ""), problems=problems)
    except (ApiConfigError, KernelError) as error:
        raise UnreadError(str(error)) from error


def _view(config: Config, snapshot: Snapshot, host: Host, variant: str) -> View:
    facts = facts_of.gather(config, host, snapshot.nodes)
    routing = build(snapshot, facts.node, facts_of.external_ip_policy(config))
    notices = (*facts.notices, *routing.notices)
    return View(facts.node, config.mode, variant, snapshot, routing, notices=notices, config=config)


async def snapshot_of(config: Config) -> tuple[Snapshot, tuple[Problem, ...]]:
    """Read the source until Services, EndpointSlices and Nodes are complete; return what cannot be used, too. Raises UnreadError."""
    snapshot, done = EMPTY, asyncio.Event()
    problems: tuple[Problem, ...] = ()

    def take(batch: Batch) -> None:
        nonlocal snapshot, problems
        snapshot, _ = advance(snapshot, batch)
        problems = problems if batch.problems is None else batch.problems
        if snapshot.in_sync and Kind.NODE in snapshot.synced:
            done.set()

    async with aclosing(await open_source(config)) as opened:
        reading = asyncio.create_task(opened.source.run(take))
        reading.add_done_callback(lambda _: done.set())
        began = time.monotonic()
        try:
            async with asyncio.timeout(READ_SECONDS):
                await done.wait()
        except TimeoutError:
            seconds = time.monotonic() - began
            raise UnreadError(f"{opened.described}: not all objects could be read within {seconds:.0f} s; is the server well?") from None
        finally:
            failed = reading.exception() if reading.done() and not reading.cancelled() else None
            reading.cancel()
            await asyncio.wait({reading})
    if failed is not None:
        raise UnreadError(f"{opened.described}: {failed}")
    return snapshot, problems


