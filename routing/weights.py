"""What annotations of a Service say about balancing: the scheduler, and weights of its endpoints. Only the ipvs mode can weigh.

    pointsman.dev/ipvs-scheduler: mh, mh-fallback
    pointsman.dev/ipvs-weights: zone:west-1a=3, node:n2=0, share:canary=1

Behind a scheduler stand its flags, if it is to have others than in this mode anyway (IPVS-04: `mh` has `mh-port`).

A weight is from 0 (no new connections) to 65535; without one it is 1. The most exact entry counts: the share (the label
pointsman.dev/share of the EndpointSlice) before the node before the zone. What cannot be read loses itself only and leaves a notice.
`service` reads these, `endpoint` gives each backend its weight.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from pointsman.kube.objects import Annotations, Service
from pointsman.routing.notices import Notes

SCHEDULERS: Final = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "fo", "ovf", "twos")
"""What the kernel's IPVS knows."""

FLAGS: Final = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}
"""The flags that a scheduler knows: take another endpoint if the chosen one has weight 0; spread a client's connections by their port."""

MAX_WEIGHT: Final = 65535
_SCHEDULER_FIELD: Final = "metadata.annotations[pointsman.dev/ipvs-scheduler]"
_WEIGHTS_FIELD: Final = "metadata.annotations[pointsman.dev/ipvs-weights]"


class Choice(Struct, frozen=True, gc=False):
    """A scheduler and its flags; empty where the Service leaves them to the mode."""

    scheduler: str = ""
    flags: tuple[str, ...] = ()


class Weights(Struct, frozen=True, gc=False):
    """Weights by what an endpoint belongs to."""

    zones: Mapping[str, int] = {}
    nodes: Mapping[str, int] = {}
    shares: Mapping[str, int] = {}

    def of(self, share: str, node: str, zone: str) -> int:
        """Return the weight of an endpoint."""
        for found, name in ((self.shares, share), (self.nodes, node), (self.zones, zone)):
            if name and name in found:
                return found[name]
        return 1


EVEN: Final = Weights()
"""Everybody weighs the same."""

NO_CHOICE: Final = Choice()


def scheduler(service: Service, notes: Notes) -> Choice:
    """Return the scheduler that a Service asks for."""
    words = (_annotations(service).ipvs_scheduler or "").replace(",", " ").split()
    if not words:
        return NO_CHOICE
    name, *flags = words
    if name not in SCHEDULERS:
        notes.refuse(_SCHEDULER_FIELD, f"{name!r} is no scheduler and is not used; use one of {', '.join(SCHEDULERS)}")
        return NO_CHOICE
    known = FLAGS.get(name, ())
    for flag in flags:
        if flag not in known:
            what = f"it knows {' and '.join(known)}" if known else "it knows none"
            notes.refuse(_SCHEDULER_FIELD, f"{flag!r} is no flag of scheduler {name} and is not used; {what}")
    return Choice(name, tuple(flag for flag in known if flag in flags))


def weights(service: Service, notes: Notes) -> Weights:
    """Return the weights that a Service asks for."""
    text = _annotations(service).ipvs_weights
    if not text:
        return EVEN
    found: dict[str, dict[str, int]] = {"zone": {}, "node": {}, "share": {}}
    for entry in text.split(","):
        name, _, number = entry.strip().rpartition("=")
        kind, _, value = name.strip().partition(":")
        weight = number.strip()
        if kind not in found or not value or not weight.isascii() or not weight.isdigit() or int(weight) > MAX_WEIGHT:
            text = f"{entry.strip()!r} is not used; write it as zone:NAME=WEIGHT, node:NAME=WEIGHT or share:NAME=WEIGHT, 0 to {MAX_WEIGHT}"
            notes.refuse(_WEIGHTS_FIELD, text)
        else:
            found[kind][value] = int(weight)
    return Weights(found["zone"], found["node"], found["share"])


def _annotations(service: Service) -> Annotations:
    return service.metadata.annotations or Annotations()
