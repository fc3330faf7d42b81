"""The shop's folder: complete, readable without a word of complaint, and changed by one rename."""

import pytest
from pointsman.proxy.demo import manifests
from pointsman.routing.snapshot import ServiceKey


def test_the_shop_is_the_example():
    assert manifests.SHOP.resolve().parts[-2:] == ("examples", "shop")


def test_the_shop_holds_every_kind_of_service(snapshot):
    services = {str(key): service.spec for key, service in snapshot.services.items()}
    assert services["shop/web"].type == "NodePort"
    assert services["shop/cart"].session_affinity == "ClientIP"
    assert services["shop/gateway"].external_traffic_policy == "Local"
    assert services["shop/backoffice"].load_balancer_source_ranges == ("198.18.1.0/24", "fd00:18:1::/64")
    assert services["shop/database"].cluster_ip == "None"
    assert services["monitoring/statsd"].ports[0].protocol == "UDP"
    assert set(snapshot.nodes) == {"n1", "n2"}
    assert snapshot.service_cidrs


def test_the_shop_routes_without_notice(routing):
    assert routing.notices == ()


def test_every_service_has_a_slice_of_each_family(snapshot):
    for key in snapshot.services:
        assert sorted(one.address_type for one in snapshot.slices[key].values()) == ["IPv4", "IPv6"], key


def test_a_copy_says_the_same(tmp_path, snapshot):
    assert manifests.load(manifests.copy(manifests.SHOP, tmp_path)) == snapshot


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(manifests.ManifestError, match="no manifests"):
        manifests.copy(tmp_path / "empty", tmp_path)


def test_a_broken_manifest_is_named_with_its_line(tmp_path):
    (tmp_path / "web.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: 80}\n")
    with pytest.raises(manifests.ManifestError, match=r"web\.yaml:4"):
        manifests.load(tmp_path)


def test_an_endpoint_is_taken_out_of_both_families_by_one_rename(tmp_path, snapshot):
    folder = manifests.copy(manifests.SHOP, tmp_path)
    pod = next(pod.metadata.name for pod in snapshot.pods.values() if pod.status.pod_ip == "10.244.2.16")
    draft, file = manifests.without_endpoint(folder, pod)
    assert manifests.load(folder) == snapshot, "nothing changes before the rename"
    draft.rename(file)
    slices = manifests.load(folder).slices[ServiceKey("shop", "web")]
    assert {one.address_type: [endpoint.addresses[0] for endpoint in one.endpoints] for one in slices.values()} == {
        "IPv4": ["10.244.1.11", "10.244.2.11"],
        "IPv6": ["fd00:10:244:1::11", "fd00:10:244:2::11"],
    }


def test_an_unknown_pod_cannot_be_taken_out(tmp_path):
    with pytest.raises(manifests.ManifestError, match="no EndpointSlice has an endpoint of Pod nobody"):
        manifests.without_endpoint(manifests.copy(manifests.SHOP, tmp_path), "nobody")
