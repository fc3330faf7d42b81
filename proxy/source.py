"""Which source of objects the configuration asks for: a folder of manifests, or the Kubernetes API.

A folder wins if one is named. Otherwise the API is asked, as kube-proxy does: the server of `--kubeconfig` or `--master`, or that of the
Pod around this process (PROC-08). `daemon` opens the source while the machine is being looked at; events about this node go to the server
through the same client. The ipvs mode reads all Nodes: whose addresses they are (pain 25), and which of them is gone (pain 90).
"""

import socket
from collections.abc import Awaitable, Callable, Set
from pathlib import Path

from msgspec import Struct
from pointsman.kube.api import ApiSource
from pointsman.kube.changeover import Changeover
from pointsman.kube.client import ApiClient, RequestObserver, connect, observe_nothing
from pointsman.kube.events import Source
from pointsman.kube.manifests import ManifestSource
from pointsman.kube.objects import Kind, ObjectRef
from pointsman.kube.resource import EVERYTHING, ROUTING
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host, needs_all_nodes, node_name

Elsewhere = Callable[[], Awaitable[frozenset[ObjectRef]]]
"""Asks which Services another proxy serves now. Raises ApiError."""


class Also(Struct, frozen=True):
    """What is read besides what routing needs: everything that DNS answers from (REC-07), Pods of this node or of all, ServiceImports."""

    unfiltered: bool = False
    own_pods: bool = False
    all_pods: bool = False
    imports: bool = False


Reread = Callable[[Also], Awaitable[None]]
"""Has something else read besides what routing needs, and returns when that has been read."""


async def _everything(also: Also) -> None:
    """Read no more: a folder is read whole."""


class Opened(Struct, frozen=True):
    """The source, how people know it, the client it reads from, if any, who tells of Services that it leaves out, and has more read."""

    source: Source
    described: str
    client: ApiClient | None = None
    elsewhere: Elsewhere | None = None
    reread: Reread = _everything

    async def aclose(self) -> None:
        """End the client's connections."""
        if self.client is not None:
            await self.client.close()


async def open_source(config: Config, on_request: RequestObserver = observe_nothing, also: Also = Also()) -> Opened:  # noqa: B008 frozen
    """Return the source; nothing is read before it runs. Raises ApiConfigError if it is not known which API server to ask, or as whom."""
    if config.manifests:
        return Opened(ManifestSource(Path(config.manifests)), config.manifests)
    client = await connect(
        config.kubeconfig, config.master, qps=config.kube_api_qps, burst=config.kube_api_burst, on_request=on_request,
    )
    name = node_name(config, Host(socket.gethostname()))

    def reading(wanted: Also, after: Set[Kind] | None = None) -> ApiSource:
        return ApiSource(
            client, name, selectors=EVERYTHING if wanted.unfiltered else ROUTING, pods=wanted.own_pods, all_pods=wanted.all_pods,
            all_nodes=needs_all_nodes(config), imports=wanted.imports, after=after,
        )  # fmt: skip

    changeover = Changeover(reading(also))

    async def reread(wanted: Also) -> None:
        await changeover.follow(reading(wanted, changeover.known))

    async def elsewhere() -> frozenset[ObjectRef]:
        source = changeover.current
        return await source.elsewhere() if source is not None else frozenset()

    return Opened(changeover, client.host, client, None if also.unfiltered else elsewhere, reread)
