"""What DNS alone reads of the cluster: what its Corefile wants, from a folder or the API, and more when another Corefile wants more.

`open` knows where to ask; nothing is read before `run`. `read` opens another source beside the one that is read, and returns when that has
its complete lists and has taken over (`kube.changeover`), so what is answered has no gap. A Corefile without `kubernetes` has nothing read.

`alone` runs it; `service` asks for more.
"""

import logging
import socket
from collections.abc import Set
from pathlib import Path

from msgspec import Struct
from pointsman.dns.corefile.load import Corefile
from pointsman.kube.api import ApiSource
from pointsman.kube.changeover import Changeover
from pointsman.kube.client import ApiClient, connect
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.events import Batch, Problem, Source
from pointsman.kube.objects import Kind
from pointsman.proxy.dns.service import DnsError
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.dns.wishes import WishError, Wishes, wishes
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

log = logging.getLogger(__name__)


class Origin(Struct, frozen=True):
    """Where the cluster is read: a folder of manifests, or else an API server; what is empty the Corefile or the Pod around may say."""

    manifests: str = ""
    kubeconfig: str = ""
    master: str = ""
    node: str = ""


class Reading:
    """Reads the cluster, and has it told."""

    def __init__(self, origin: Origin, telling: Telling) -> None:
        self._origin = origin
        self._telling = telling
        self._changeover: Changeover[Source] = Changeover()
        self._client: ApiClient | None = None
        self._snapshot: Snapshot = EMPTY
        self._problems: tuple[Problem, ...] = ()

    async def open(self, wanted: Wishes) -> None:
        """Get ready to read what is wanted first. Raises ApiConfigError if it is not known where."""
        self._telling.pods = wanted.pods
        if wanted.cluster:
            source, self._client = await self._source(wanted)
            self._changeover = Changeover(source)

    async def run(self) -> None:
        """Read until cancelled."""
        await self._changeover.run(self._take)

    async def read(self, corefile: Corefile) -> None:
        """Read what another Corefile wants instead, and return when it is known. Raises DnsError if that cannot be."""
        try:
            wanted = wishes(corefile)
            source, client = await self._source(wanted, self._changeover.known)
        except (WishError, ApiConfigError) as error:
            raise DnsError(str(error)) from error
        former = client
        try:
            await self._changeover.follow(source)
            former, self._client = self._client, client
        except OSError as error:
            raise DnsError(str(error)) from error
        finally:
            if former is not None:
                await former.close()
        self._telling.pods = wanted.pods

    async def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            await self._client.close()

    def _take(self, batch: Batch) -> None:
        """Take what the source of that time delivers."""
        self._snapshot, dirty = advance(self._snapshot, batch)
        self._telling.advance(self._snapshot, dirty)
        if batch.problems is not None and batch.problems != self._problems:
            for problem in batch.problems:
                if problem not in self._problems:
                    log.warning("%s", problem)
            self._problems = batch.problems

    async def _source(self, wanted: Wishes, after: Set[Kind] | None = None) -> tuple[Source, ApiClient | None]:
        """Return where the cluster's objects come from."""
        origin = self._origin
        if origin.manifests:
            from pointsman.kube.manifests import ManifestSource  # noqa: PLC0415 - who reads the API need not wait for YAML and inotify

            return ManifestSource(Path(origin.manifests)), None
        client = await connect(origin.kubeconfig or wanted.kubeconfig, origin.master or wanted.server)
        node = origin.node or socket.gethostname()
        source = ApiSource(
            client, node, selectors=wanted.selectors, pods=wanted.own_pods, all_pods=wanted.all_pods, imports=wanted.imports, after=after,
        )  # fmt: skip
        return source, client
