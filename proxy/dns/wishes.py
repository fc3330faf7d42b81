"""What a Corefile's kubernetes plugins want to be read from the API, and from which server. Pure.

One watch serves all server blocks, so blocks that select differently cannot be served by one process: that is an error with its place, not
a guess (REC-09). Pods are read only where answers need them: all of them for `pods verified`, those of this node for what is known of its
clients; so are ServiceImports, for `multicluster` (EXT-01).
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct, structs
from pointsman.dns.corefile.load import Corefile
from pointsman.dns.corefile.options import AutopathOptions, KubernetesOptions
from pointsman.kube.resource import EVERYTHING, Selectors


class WishError(Exception):
    """What the Corefile wants to be read cannot be had; the text says where and what to do."""


class Wishes(Struct, frozen=True):
    """What to read (`selectors`, Pods), whether at all, and from where if not as the command line says."""

    cluster: bool = False
    selectors: Selectors = EVERYTHING
    all_pods: bool = False
    own_pods: bool = False
    imports: bool = False
    kubeconfig: str = ""
    server: str = ""
    patience: float = 5.0

    @property
    def pods(self) -> bool:
        """Return whether answers depend on Pods."""
        return self.all_pods or self.own_pods

    @property
    def restricted(self) -> bool:
        """Return whether less is read than the agent needs for itself: it needs a watch of its own then."""
        return self.selectors != EVERYTHING


_SHARED: Final[Sequence[tuple[str, Callable[[KubernetesOptions], object]]]] = (
    ("labels", lambda one: one.labels),
    ("namespace_labels", lambda one: one.namespace_labels),
    ("kubeconfig", lambda one: one.kubeconfig),
    ("endpoint", lambda one: one.server),
    ("tls", lambda one: one.tls),
)


def wishes(corefile: Corefile) -> Wishes:
    """Return what a Corefile wants. Raises WishError."""
    found = tuple(corefile.all(KubernetesOptions))
    if not found:
        return Wishes()
    first = found[0]
    for other in found[1:]:
        for name, value in _SHARED:
            if value(other) != value(first):
                where = f"{other.place.file}:{other.place.line}: kubernetes"
                text = f"{name} differs from that of the block at line {first.place.line}"
                raise WishError(f"{where}: {text}; one process reads one selection: write the same into both, or run two")
    if first.tls:
        text = f"{first.place.file}:{first.place.line}: kubernetes: tls is supported by CoreDNS, not by this resolver: write a kubeconfig"
        raise WishError(text)
    selectors = EVERYTHING
    if first.labels or first.namespace_labels:
        selectors = structs.replace(EVERYTHING, services=first.labels, slices=first.labels, namespaces=first.namespace_labels)
    return Wishes(
        cluster=True,
        selectors=selectors,
        all_pods=any(each.pods == "verified" for each in found),
        own_pods=any(each.source == "@kubernetes" for each in corefile.all(AutopathOptions)),
        imports=any(each.multicluster for each in found),
        kubeconfig=first.kubeconfig[0] if first.kubeconfig else "",
        server=first.server[0] if first.server else "",
        patience=max(each.startup_timeout for each in found),
    )
