"""When the changes that wait to be answered were decided on, so that a resolver can tell how long they took. Pure.

The cluster's controllers write the moment into an annotation of an EndpointSlice. CoreDNS counts it for headless Services with a selector
only, because their endpoints are what answers consist of; so it is here (OBS-17). A slice that changes again before it is answered keeps
its first moment: that is how long somebody has waited. What was decided on before this process began says nothing about it.

`telling` notes what comes and takes what is told; the resolver counts it when it is in force.
"""

from collections.abc import Iterable

from pointsman.proxy.changes import trigger_of
from pointsman.routing.snapshot import ServiceKey, Snapshot


class Triggers:
    """Moments by Service and slice, in seconds since the epoch; those before `since` are left out."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._waiting: dict[ServiceKey, dict[str, float]] = {}

    def note(self, before: Snapshot, after: Snapshot, keys: Iterable[ServiceKey]) -> None:
        """Take note of slices of headless Services that differ between two snapshots."""
        for key in keys:
            service = after.services.get(key)
            if service is None or service.spec.cluster_ip != "None":
                continue
            old = before.slices.get(key, {})
            for name, value in after.slices.get(key, {}).items():
                if old.get(name) is value:
                    continue
                moment = trigger_of(value)
                if moment is not None and moment >= self._since:
                    self._waiting.setdefault(key, {}).setdefault(name, moment)

    def take(self, keys: Iterable[ServiceKey]) -> tuple[float, ...]:
        """Return the moments of these Services, and forget them."""
        if not self._waiting:
            return ()
        return tuple(moment for key in keys for moment in self._waiting.pop(key, {}).values())

    def clear(self) -> None:
        """Forget all: a complete list is told, which is no change."""
        self._waiting.clear()
