"""What an annotation of a Service says about connections to an endpoint that has left it (pain 85).

    pointsman.dev/on-endpoint-removal: keep
    pointsman.dev/on-endpoint-removal: reset-after=30s

An established TCP or SCTP connection belongs to its endpoint, so it goes on as long as both ends want (`keep`, as with kube-proxy). That is
wrong for an active/passive pair, where whoever left the Service is alive and no longer the one to talk to: `reset-after` forgets its
connections some time later, and whoever sends next is told to start anew. UDP knows no connection, and always follows the Service.
A value that cannot be read is reported and counts as `keep`. `service` reads it, the reconciler of flows acts.
"""

import re
from typing import Final

from pointsman.kube.objects import Annotations, Service
from pointsman.routing.notices import Notes

LONGEST: Final = 86400.0
"""Seconds that a connection may be given at most."""
_FIELD: Final = "metadata.annotations[pointsman.dev/on-endpoint-removal]"
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_RESET: Final = re.compile(r"reset-after\s*=\s*([0-9]{1,6})(s|m|h|)")


def reset_after(service: Service, notes: Notes) -> float | None:
    """Return after how many seconds connections to an endpoint that left are ended; None = never."""
    text = ((service.metadata.annotations or Annotations()).on_endpoint_removal or "keep").strip()
    if text == "keep":
        return None
    found = _RESET.fullmatch(text)
    if found is None:
        notes.refuse(_FIELD, f"{text!r} is not known and counts as keep; write keep, or reset-after=30s (s, m or h)")
        return None
    seconds = float(int(found[1]) * _SECONDS[found[2]])
    if seconds > LONGEST:
        notes.refuse(_FIELD, f"{text!r} is more than {LONGEST / 3600:.0f} hours and counts as keep; give a shorter time")
        return None
    return seconds
