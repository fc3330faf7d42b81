"""What a Corefile needs to be told of the cluster, so that a new one is not taken over that the agent does not read enough for. Pure.

The agent reads what its Corefile needs: whether the cluster at all, whether Pods, and which selection of Services. A new one that needs
more would be answered with denials of names that exist. So the resolver leaves it alone and goes on with the former one; the agent has more
read, and when that is known another resolver takes over, with the new Corefile (OBS-50).
"""

from collections.abc import Iterator, Mapping

from pointsman.dns.corefile.load import Corefile
from pointsman.dns.corefile.options import AutopathOptions, KubernetesOptions

KUBERNETES = "kubernetes"
VERIFIED = "pods verified"
MULTICLUSTER = "multicluster"
AUTOPATH = "autopath @kubernetes"

Need = tuple[str, str, str]
"""The place, what is needed, and which of it (empty where there is only one kind)."""


def needs(corefile: Corefile) -> dict[str, str]:
    """Return what a Corefile needs, as it is told to the resolver; the first block speaks for all."""
    found: dict[str, str] = {}
    for _, name, value in _each(corefile):
        found.setdefault(name, value)
    return found


def unmet(corefile: Corefile, had: Mapping[str, str]) -> str:
    """Return where a Corefile needs something else than what is read; empty if it does not."""
    for place, name, value in _each(corefile):
        if name not in had or had[name] != value:
            what = f"`{name} {value}`" if value else f"`{name}` that is left out" if name in _SELECTING else f"`{name}`"
            return f"{place}: {what} needs more of the cluster than is read"
    return ""


_SELECTING = ("labels", "namespace_labels", "kubeconfig", "endpoint")


def _each(corefile: Corefile) -> Iterator[Need]:
    for one in corefile.all(KubernetesOptions):
        place = f"{one.place.file}:{one.place.line}"
        yield place, KUBERNETES, ""
        if one.pods == "verified":
            yield place, VERIFIED, ""
        if one.multicluster:
            yield place, MULTICLUSTER, ""
        chosen = (one.labels, one.namespace_labels, " ".join(one.kubeconfig), " ".join(one.server))
        for name, value in zip(_SELECTING, chosen, strict=True):
            yield place, name, value
    for path in corefile.all(AutopathOptions):
        if path.source == "@kubernetes":
            yield f"{path.place.file}:{path.place.line}", AUTOPATH, ""
