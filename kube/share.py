"""Equal parts of objects are kept once.

A cluster repeats itself: a hundred thousand endpoints name a few hundred nodes, a handful of zones and three sets of conditions. Decoding
makes a new string and a new struct for each; this module trades them for shared ones, which halves the memory of the snapshot. Strings are
interned (the interpreter forgets them with their last user), small structs come from bounded caches. The result always equals the argument.
`decode` calls it as its last step.
"""

from functools import lru_cache
from sys import intern

from msgspec.structs import astuple, replace
from pointsman.kube.objects import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    KubeObject,
    Labels,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    TargetRef,
)

_KEPT = 1024  # entries per cache; a cluster has far fewer kinds of each


def shared(value: KubeObject) -> KubeObject:
    """Return an equal object whose repeated parts are shared with other objects."""
    match value:
        case EndpointSlice():
            return EndpointSlice(
                _meta(value.metadata),
                intern(value.address_type),
                None if value.endpoints is None else tuple([_endpoint(endpoint) for endpoint in value.endpoints]),
                _slice_ports(value.ports),
            )
        case Service():
            return Service(_meta(value.metadata), _spec(value.spec), _status(value.status))
        case _:
            return value


def _word(text: str | None) -> str | None:
    return None if text is None else intern(text)


def _words(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if texts is None else tuple([intern(text) for text in texts])


def _meta(meta: ObjectMeta) -> ObjectMeta:
    return ObjectMeta(
        intern(meta.name),
        intern(meta.namespace),
        _word(meta.creation_timestamp),
        meta.deletion_timestamp,
        None if meta.labels is None else _labels(meta.labels),
        meta.annotations,
    )


def _labels(labels: Labels) -> Labels:
    return Labels(*map(_word, astuple(labels)))


def _endpoint(endpoint: Endpoint) -> Endpoint:
    target = endpoint.target_ref
    return Endpoint(
        endpoint.addresses,
        None if endpoint.conditions is None else _conditions(endpoint.conditions),
        endpoint.hostname,
        _word(endpoint.node_name),
        _word(endpoint.zone),
        None if endpoint.hints is None else _hints(endpoint.hints),
        None if target is None else TargetRef(_word(target.kind), target.name),
    )


def _spec(spec: ServiceSpec) -> ServiceSpec:
    return replace(
        spec,
        type=_word(spec.type),
        cluster_ip=_word(spec.cluster_ip),
        cluster_ips=_words(spec.cluster_ips),
        ip_families=_families(spec.ip_families),
        ports=_service_ports(spec.ports),
        session_affinity=_word(spec.session_affinity),
        external_traffic_policy=_word(spec.external_traffic_policy),
        internal_traffic_policy=_word(spec.internal_traffic_policy),
    )


@lru_cache(_KEPT)
def _conditions(value: EndpointConditions) -> EndpointConditions:
    return value


@lru_cache(_KEPT)
def _hints(value: EndpointHints) -> EndpointHints:
    return value


@lru_cache(_KEPT)
def _families(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return _words(value)


@lru_cache(_KEPT)
def _status(value: ServiceStatus | None) -> ServiceStatus | None:
    return value


@lru_cache(_KEPT)
def _slice_ports(value: tuple[EndpointPort, ...] | None) -> tuple[EndpointPort, ...] | None:
    return None if value is None else tuple([EndpointPort(_word(port.name), port.port, _word(port.protocol)) for port in value])


@lru_cache(_KEPT)
def _service_ports(value: tuple[ServicePort, ...] | None) -> tuple[ServicePort, ...] | None:
    return None if value is None else tuple([replace(port, name=_word(port.name), protocol=_word(port.protocol)) for port in value])
