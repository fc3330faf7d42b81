"""The Node object of this node: what must be known of it before anything is programmed, and what is remembered of it (IN-51, IN-54).

Where objects come from the API, a node without its Node object would be routed wrongly: node ports `primary` nowhere, hints for its zone
not obeyed, its pods not told from others. What is in the kernel from before is better, so nothing is written until the Node has addresses,
and with the detector NodeCIDR pod ranges. If the API server answers and the Node does not become so for five minutes, the agent ends with
the reason; while the server does not answer, it waits. Pod ranges that this kernel cannot serve end it at once (CFG-24).

Later a Node may vanish or lose its addresses, as when it is registered afresh: then what was last known stays in force, and only /healthz
tells (HLT-03). A folder of manifests need not hold Nodes, so nothing is awaited there. `agent` asks, `daemon` waits beside the loops.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from pointsman.kube.objects import Kind, Node
from pointsman.proxy.config import Config, family_of
from pointsman.proxy.config_watch import Stop
from pointsman.proxy.facts import addresses_of, pod_cidrs_of
from pointsman.routing.node import DetectLocal
from pointsman.routing.route import Family
from pointsman.routing.snapshot import Snapshot

log = logging.getLogger(__name__)

PATIENCE = 300.0
"""Seconds that a Node may be missing at the start (IN-51)."""

UNREAD = "the Node has not been read yet"


class OwnNode:
    """What is known of this node's Node object."""

    def __init__(self, config: Config, name: str, served: Iterable[Family]) -> None:
        """Begin with nothing known; `served` are the families of this kernel."""
        self.name = name
        self.asked = asyncio.Event()
        self.settled = asyncio.Event()
        self.lack = "" if config.manifests else UNREAD
        self.unusable = ""
        self._awaited = not config.manifests
        self._by_pod_cidrs = config.detect_local_mode == DetectLocal.NODE_CIDR.value
        self._served = tuple(served)
        self._complete: Node | None = None
        if not self._awaited:
            self._settle("")

    def see(self, snapshot: Snapshot) -> Mapping[str, Node]:
        """Take what is known now; return all Nodes, this node's as it was last seen complete."""
        nodes = snapshot.nodes
        if not self._awaited:
            return nodes
        if snapshot.in_sync:
            self.asked.set()
        node = nodes.get(self.name)
        lack = self._lack(node, listed=Kind.NODE in snapshot.synced)
        if not lack:
            self._complete = node
        if self._complete is None:
            self.lack = lack
            return nodes
        self.lack = ""
        if not self.settled.is_set():
            self._settle(self._unusable(self._complete))
        return nodes if node is self._complete else {**nodes, self.name: self._complete}

    def _settle(self, unusable: str) -> None:
        self.unusable = unusable
        self.asked.set()
        self.settled.set()

    @property
    def ready(self) -> bool:
        """Return whether Services may be programmed, as far as this Node is concerned."""
        return not self.lack and not self.unusable

    def _lack(self, node: Node | None, *, listed: bool) -> str:
        """Return what is missing, empty if nothing is."""
        if node is None:
            known = f"the API has no Node {self.name!r}; is it registered, and is --hostname-override its name?"
            return known if listed else UNREAD
        if not addresses_of(node):
            return "status.addresses holds neither an InternalIP nor an ExternalIP"
        if self._by_pod_cidrs and not pod_cidrs_of(node):
            return "spec.podCIDRs is empty, and --detect-local-mode=NodeCIDR needs it; is the controller manager told to allocate them?"
        return ""

    def _unusable(self, node: Node) -> str:
        """Return why its pod ranges cannot be used here, empty if they can (CFG-24)."""
        if not self._by_pod_cidrs or not {family_of(cidr) for cidr in pod_cidrs_of(node)}.isdisjoint(self._served):
            return ""
        served = " and ".join(family.value for family in self._served)
        return f"spec.podCIDRs {','.join(pod_cidrs_of(node))} cannot be used: this host serves {served} only"


async def await_node(own: OwnNode, stop: Stop, *, patience: float = PATIENCE) -> None:
    """Wait for the Node; end the agent if it does not come, or cannot be used."""
    await own.asked.wait()
    try:
        async with asyncio.timeout(patience):
            await own.settled.wait()
    except TimeoutError:
        reason = f"{own.lack}; waited {patience:.0f} seconds"
    else:
        reason = own.unusable
    if reason:
        log.error("cannot start; all rules stay in place", extra={"object": f"Node {own.name}", "reason": reason})
        stop.status = 1
        stop.set()
