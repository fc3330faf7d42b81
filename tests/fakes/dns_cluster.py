"""A small cluster as the resolver knows it, and questions to it, written and read by dnspython: another hand than ours."""

import dns.message
import dns.rcode
import dns.rdatatype
from pointsman.dns.catalog import Catalog
from pointsman.dns.corefile.findings import Place
from pointsman.dns.corefile.options import Fallthrough, KubernetesOptions
from pointsman.dns.encode import encode
from pointsman.dns.feed import Change
from pointsman.dns.journal import Journal
from pointsman.dns.kubernetes import Kubernetes
from pointsman.dns.question import read
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Kind,
    Labels,
    Namespace,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServiceImport,
    ServiceImportSpec,
    ServicePort,
    ServiceSpec,
    TargetRef,
)
from pointsman.routing.snapshot import EMPTY, advance

ZONES = ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")


def service(name, *addresses, namespace="shop", ports=((80, "http"),), external=None):
    spec = ServiceSpec(
        type="ExternalName" if external else "ClusterIP",
        cluster_ip=addresses[0] if addresses else None,
        cluster_ips=addresses or None,
        ports=tuple(ServicePort(port, label or None, "TCP") for port, label in ports),
        external_name=external,
    )
    return Service(ObjectMeta(name, namespace), spec)


def endpoint(address, hostname=None, *, ready=None, zone=None, pod=None):
    conditions = None if ready is None else EndpointConditions(ready=ready)
    return Endpoint((address,), conditions, hostname, zone=zone, target_ref=TargetRef("Pod", pod) if pod else None)


def endpoint_slice(owner, *endpoints, namespace="shop", ports=((8080, "http"),), family="IPv4", suffix="x1", labels=None):
    meta = ObjectMeta(f"{owner}-{suffix}", namespace, labels=labels or Labels(service_name=owner))
    return EndpointSlice(meta, family, endpoints, tuple(EndpointPort(label or None, port, "TCP") for port, label in ports))


def service_import(name, *addresses, headless=False, namespace="shop", ports=((80, "http"),)):
    kind = "Headless" if headless else "ClusterSetIP"
    spec = ServiceImportSpec(kind, addresses or None, tuple(ServicePort(port, label or None, "TCP") for port, label in ports))
    return ServiceImport(ObjectMeta(name, namespace), spec)


def import_slice(name, cluster, *endpoints, **options):
    """Return a slice that a cluster offers to an import."""
    return endpoint_slice(name, *endpoints, suffix=cluster or "nowhere", labels=Labels(import_name=name, source_cluster=cluster), **options)


def pod(name, address, *, namespace="shop", phase="Running", host=False):
    return Pod(ObjectMeta(name, namespace), PodSpec("n1", host), PodStatus(phase, address))


def snapshot_of(*objects, namespaces=("shop",)):
    kinds = {Kind.SERVICE: Service, Kind.ENDPOINT_SLICE: EndpointSlice, Kind.POD: Pod, Kind.SERVICE_IMPORT: ServiceImport}
    events = [Replace(kind, tuple(one for one in objects if isinstance(one, cls))) for kind, cls in kinds.items()]
    events.append(Replace(Kind.NAMESPACE, tuple(Namespace(ObjectMeta(name)) for name in namespaces)))
    return advance(EMPTY, Batch(tuple(events)))[0]


def catalog_of(*objects, namespaces=("shop",), synced=True):
    catalog = Catalog()
    for news in Journal(pods=True).whole(snapshot_of(*objects, namespaces=namespaces), 1_700_000_000.0):
        if isinstance(news, Change):
            catalog.apply(news)
        elif synced:
            catalog.finish(news)
    return catalog


def plugin(catalog, everything=None, following=None, *, local=("10.96.0.10",), fallthrough=None, zones=ZONES, **options):
    async def nobody(query):
        return None

    place = Place("Corefile", 1)
    onward = None if fallthrough is None else Fallthrough(tuple(fallthrough))
    made = KubernetesOptions(place=place, zones=zones, fallthrough=onward, **options)
    return Kubernetes(made, catalog, everything or nobody, following, local=local)


def query_of(name, qtype="A", **edns):
    return read(dns.message.make_query(name, qtype, **edns).to_wire())


def ask(responder, name, qtype="A", **edns):
    """Return dnspython's reading of the reply."""
    query = query_of(name, qtype, **edns)
    coroutine = responder.answer(query)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return dns.message.from_wire(encode(query, done.value))
    raise AssertionError("it waits")


def texts(section):
    """Return a section's records as sorted texts: type and value."""
    return sorted(f"{dns.rdatatype.to_text(group.rdtype)} {item.to_text()}" for group in section for item in group)


def outcome(message):
    """Return NXDOMAIN, NODATA, another rcode, or the answer's texts."""
    rcode = dns.rcode.to_text(message.rcode())
    if rcode == "NOERROR":
        return texts(message.answer) or "NODATA"
    return rcode
