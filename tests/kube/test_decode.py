"""Decoding: kinds, lists, identities, clear errors, and that nothing but DecodeError ever comes out."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.decode import DecodeError, Entry, Unread, decode, decode_as
from pointsman.kube.objects import (
    STRUCTS,
    EndpointSlice,
    Kind,
    KubeObject,
    Labels,
    ObjectMeta,
    ObjectRef,
    Service,
    ServiceCIDR,
    ServiceImport,
    ServiceImportSpec,
    ServicePort,
    ref_of,
)

VERSIONS = {Kind.ENDPOINT_SLICE: "discovery.k8s.io/v1", Kind.SERVICE_CIDR: "networking.k8s.io/v1",
            Kind.SERVICE_IMPORT: "multicluster.x-k8s.io/v1alpha1"}  # fmt: skip


def manifest(kind: str = "Service", version: str = "v1", name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **fields}


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def only(document: dict[str, Any]) -> KubeObject | DecodeError | Unread:
    """Decode by both doors, JSON text and mapping, which must agree."""
    outcomes = []
    for form in (document, as_json(document)):
        (entry,) = decode(form)
        outcomes.append(entry.outcome)
    assert str(outcomes[0]) == str(outcomes[1])
    return outcomes[1]


def error_of(document: dict[str, Any]) -> DecodeError:
    outcome = only(document)
    assert isinstance(outcome, DecodeError)
    return outcome


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_is_found_by_version_and_kind(kind: Kind) -> None:
    outcome = only(manifest(kind.value, VERSIONS.get(kind, "v1"), "a"))
    assert type(outcome) is STRUCTS[kind]


def test_service_cidrs_are_read_in_their_beta_version_too() -> None:
    """IN-04."""
    outcome = only(manifest("ServiceCIDR", "networking.k8s.io/v1beta1", "a", spec={"cidrs": ["10.96.0.0/12"]}))
    assert isinstance(outcome, ServiceCIDR)
    assert outcome.spec.cidrs == ("10.96.0.0/12",)


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_ext_01_service_imports_are_read_in_both_versions(version: str) -> None:
    spec = {"type": "ClusterSetIP", "ips": ["10.96.0.9"], "ports": [{"port": 80, "name": "http", "protocol": "TCP", "appProtocol": "h2c"}]}
    outcome = only(manifest("ServiceImport", f"multicluster.x-k8s.io/{version}", spec=spec, status={"clusters": [{"cluster": "east"}]}))
    expected = ServiceImportSpec("ClusterSetIP", ("10.96.0.9",), (ServicePort(80, "http", "TCP"),))
    assert outcome == ServiceImport(ObjectMeta("web", "shop"), expected)
    error = error_of(manifest("ServiceImport", f"multicluster.x-k8s.io/{version}", name="a.b"))
    assert (error.field, error.ref) == ("metadata.name", None)


def test_ext_01_the_labels_of_imported_slices_are_read() -> None:
    document = manifest("EndpointSlice", "discovery.k8s.io/v1", "web-east")
    document["metadata"]["labels"] = {"multicluster.kubernetes.io/service-name": "web", "multicluster.kubernetes.io/source-cluster": "east"}
    outcome = only(document)
    assert isinstance(outcome, EndpointSlice)
    assert outcome.metadata.labels == Labels(import_name="web", source_cluster="east")


@pytest.mark.parametrize(
    ("kind", "version"), [("Deployment", "apps/v1"), ("Service", "serving.knative.dev/v1"), ("DeploymentList", "apps/v1")]
)
def test_other_kinds_are_no_errors_but_seen(kind: str, version: str) -> None:
    assert only(manifest(kind, version)) == Unread(version, kind)


def test_an_unsupported_version_of_a_kind_that_is_read_is_an_error() -> None:
    error = error_of(manifest("EndpointSlice", "discovery.k8s.io/v1beta1"))
    assert str(error) == "EndpointSlice shop/web: apiVersion: discovery.k8s.io/v1beta1 is not read here; write discovery.k8s.io/v1"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"ports": [{"port": "80"}]}, "Service shop/web: spec.ports[0].port: expected int, got str"),
        ({"ports": [{"port": 80}, {"name": "x"}]}, "Service shop/web: spec.ports[1].port: missing"),
        ({"clusterIP": 10.96}, "Service shop/web: spec.clusterIP: expected str, got float (write it in quotes)"),
        ({"ports": {"port": 80}}, "Service shop/web: spec.ports: expected array, got object"),
        ({"ports": [{"port": 2**31}]}, "Service shop/web: spec.ports[0].port: expected int <= 2147483647"),
        ({"publishNotReadyAddresses": "yes"}, "Service shop/web: spec.publishNotReadyAddresses: expected bool, got str"),
    ],
)
def test_errors_name_object_field_and_what_is_wrong(spec: dict[str, Any], text: str) -> None:
    error = error_of(manifest(spec=spec))
    assert str(error) == text
    assert error.ref == ObjectRef(Kind.SERVICE, "shop", "web")


def test_a_label_is_named_as_one() -> None:
    document = manifest()
    document["metadata"]["labels"] = {"kubernetes.io/service-name": 5}
    assert error_of(document).field == "metadata.labels[kubernetes.io/service-name]"


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({}, "metadata.name"),
        ({"name": None}, "metadata.name"),
        ({"name": ""}, "metadata.name"),
        ({"name": 'a" -j ACCEPT'}, "metadata.name"),
        ({"name": "a\n"}, "metadata.name"),
        ({"name": "a.b"}, "metadata.name"),
        ({"name": "a" * 64}, "metadata.name"),
        ({"name": "web", "namespace": "Shop"}, "metadata.namespace"),
        ({"name": "web", "namespace": "a b"}, "metadata.namespace"),
        ({"name": "web", "namespace": 5}, "metadata.namespace"),
    ],
)
def test_identities_the_api_would_refuse_are_errors(metadata: dict[str, Any], field: str) -> None:
    error = error_of({"apiVersion": "v1", "kind": "Service", "metadata": metadata})
    assert error.field == field
    assert error.subject.startswith("Service")


def test_missing_metadata_is_an_error() -> None:
    assert str(error_of({"apiVersion": "v1", "kind": "Node"})) == "Node: metadata: missing"


def test_slices_and_pods_may_have_dots_in_their_names() -> None:
    outcome = only(manifest("EndpointSlice", "discovery.k8s.io/v1", "web.1"))
    assert isinstance(outcome, EndpointSlice)
    assert isinstance(only(manifest("Pod", name=".web")), DecodeError)


def test_the_namespace_is_default_unless_given_and_empty_for_cluster_scoped_kinds() -> None:
    for namespace in ({}, {"namespace": None}, {"namespace": ""}):
        outcome = only({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", **namespace}})
        assert isinstance(outcome, Service)
        assert str(ref_of(outcome)) == "Service default/web"
    node = only(manifest("Node"))
    assert not isinstance(node, (DecodeError, Unread))
    assert str(ref_of(node)) == "Node web"


def test_null_is_absent_everywhere() -> None:
    outcome = only(manifest(spec=None, status=None))
    assert outcome == only(manifest())
    endpoint = {"addresses": None, "hints": {"forZones": None}}
    assert isinstance(only(manifest("EndpointSlice", "discovery.k8s.io/v1", addressType="IPv4", endpoints=[endpoint])), EndpointSlice)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": None}, "spec": None, "status": {"addresses": None}}
    assert not isinstance(only(node), DecodeError)


def test_a_broken_item_does_not_cost_the_others() -> None:
    items = [manifest(), None, manifest(name="Bad"), manifest("Deployment", "apps/v1"), 5, manifest("Node", name="n1")]
    document = {"apiVersion": "v1", "kind": "List", "items": items}
    for form in (document, as_json(document)):
        entries = decode(form)
        assert [entry.item for entry in entries] == list(range(6))
        assert [isinstance(entry.outcome, DecodeError) for entry in entries] == [False, True, True, False, True, False]


def test_items_of_a_typed_list_need_not_say_their_kind() -> None:
    document = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "items": [{"metadata": {"name": "x"}}, {"metadata": {}}]}
    for form in (document, as_json(document)):
        good, bad = decode(form)
        assert isinstance(good.outcome, EndpointSlice)
        assert str(bad.outcome) == "EndpointSlice: metadata.name: missing"


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_is_no_error(items: list[Any] | None) -> None:
    document = {"apiVersion": "v1", "kind": "ServiceList", "items": items}
    assert decode(document) == decode(as_json(document)) == ()


def test_a_list_inside_a_list_is_refused() -> None:
    inner = {"apiVersion": "v1", "kind": "List", "items": []}
    (entry,) = decode(as_json({"apiVersion": "v1", "kind": "List", "items": [inner]}))
    assert isinstance(entry.outcome, DecodeError)
    assert entry.outcome.field == "kind"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", ""), (b"{", ""), (b"[]", ""), (b"null", ""), (b'{"kind": "Service"}', "apiVersion"), (b'{"apiVersion": "v1"}', "kind"),
        (b'{"apiVersion": 1, "kind": "Service"}', "apiVersion"), (b'{"apiVersion": "v1", "kind": "List", "items": {}}', "items"),
        (b'{"apiVersion": "v1", "kind": "List", "items": [' + b"[" * 5000, ""), (b'{"kind": "\xff"}', ""),
    ],
)
def test_what_is_no_object_is_an_error(content: bytes, field: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(content)
    assert caught.value.field == field
    assert caught.value.reason


def test_decode_as_needs_no_kind() -> None:
    """The API's watch knows what it asked for."""
    assert isinstance(decode_as(Kind.SERVICE, b'{"metadata": {"name": "web"}}'), Service)
    with pytest.raises(DecodeError, match="Service: metadata: missing"):
        decode_as(Kind.SERVICE, b"{}")


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(0, 70000), st.floats(), st.text(max_size=8), st.just("IPv4"))
FIELDS = st.sampled_from(
    ["apiVersion", "kind", "metadata", "name", "namespace", "labels", "kubernetes.io/service-name", "spec", "status", "ports", "port",
     "items",
     "endpoints", "addresses", "conditions", "ready", "hints", "forZones", "clusterIPs", "cidrs", "loadBalancer", "ingress", "ip", "podIPs"]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4), max_leaves=20)
HEADS = st.sampled_from(
    [("v1", "Service"), ("v1", "List"), ("v1", "Node"), ("v1", "PodList"), ("discovery.k8s.io/v1", "EndpointSlice"), ("", "")]
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    version, kind = draw(HEADS)
    fields = draw(st.dictionaries(FIELDS, VALUES, max_size=5))
    return {"apiVersion": version, "kind": kind, "metadata": {"name": draw(st.sampled_from(["a", "A", ""]))}, **fields}


def decode_safely(document: bytes | dict[str, object]) -> tuple[Entry, ...]:
    """Decode; any error but DecodeError fails the test."""
    try:
        entries = decode(document)
    except DecodeError:
        return ()
    for entry in entries:
        assert str(entry.outcome)
        if not isinstance(entry.outcome, (DecodeError, Unread)):
            assert ref_of(entry.outcome).name
    return entries


@settings(max_examples=200, deadline=None)
@given(documents())
def test_any_mapping_decodes_or_raises_decode_error(document: dict[str, object]) -> None:
    decode_safely(document)
    decode_safely(json.dumps(document).encode())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_mutated_bytes_decode_or_raise_decode_error(seed: int) -> None:
    chance = random.Random(seed)
    service = manifest(spec={"ports": [{"port": 80}], "clusterIP": "10.96.0.1"})
    items = [service, manifest("EndpointSlice", "discovery.k8s.io/v1", endpoints=[{}])]
    content = bytearray(as_json({"apiVersion": "v1", "kind": "List", "items": items}))
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                content[place] = chance.randrange(256)
            case 1:
                del content[place:place + chance.randint(1, 9)]
            case 2:
                content[place:place] = chance.choice([b"[", b"{", b'"', b"null", b"1e999", b"\\ud800", b"\x00", b"9" * 5000])
            case _:
                content[place:place] = content[:place]
    decode_safely(bytes(content))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_decode_or_raise_decode_error(content: bytes) -> None:
    decode_safely(content)
