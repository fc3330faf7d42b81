"""Whose state is in the kernel: told by what only one of the two makes (IPVS-20, IPVS-21)."""

import pytest
from fakes import routes as make
from fakes.ipvs import desired
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import VirtualKey, VirtualServer
from pointsman.ipvs.whose import is_kube_proxys, without_kube_proxys
from pointsman.routing.route import Family, Protocol

OTHER_SIZE = {Family.IPV4: "hash:ip,port family inet maxelem 65536", Family.IPV6: "hash:ip,port family inet6 maxelem 65536"}


def kube_proxys(family):
    """Return what its ipvs mode has, as we would see it."""
    prefix = names.SETS[family].cluster_ip.removesuffix("CLUSTER-IP")
    address = make.pod(family, 99)
    return {
        RuleKey("nat", "KUBE-NODE-PORT"): "-j KUBE-MARK-MASQ",
        RuleKey("filter", "KUBE-IPVS-FILTER"): "-m conntrack --ctstate NEW -j REJECT",
        RuleKey("filter", "KUBE-IPVS-OUT-FILTER"): "",
        RuleKey("filter", "INPUT", "-m comment --comment x -j KUBE-NODE-PORT"): "",
        RuleKey("filter", "INPUT", "-j KUBE-IPVS-FILTER"): "",
        SetKey(f"{prefix}CLUSTER-IP"): OTHER_SIZE[family],
        SetKey(f"{prefix}NODE-PORT-TCP"): "bitmap:port range 0-65535",
        SetKey(names.SETS[family].health_checks): "bitmap:port range 0-65535",
        AddressKey(address): "",
        VirtualKey(family, Protocol.TCP, address, 443): VirtualServer(),
    }


@pytest.mark.parametrize("family", Family)
def test_what_only_kube_proxy_made_is_all_its_own(family):
    assert is_kube_proxys([kube_proxys(family)], family)


@pytest.mark.parametrize("family", Family)
def test_any_part_of_kube_proxys_tells_of_it_but_what_both_make_alike_tells_of_nobody(family):
    parts = {str(key): is_kube_proxys([{key: value}], family) for key, value in kube_proxys(family).items()}
    assert sum(parts.values()) == 4, parts
    assert not is_kube_proxys([], family)
    assert not is_kube_proxys([{}], family)


@pytest.mark.parametrize("family", Family)
def test_ours_is_not_kube_proxys_however_little_of_it_is_left(family):
    whole = desired(family, make.route(family, node_port=30080, external_local=True, backends=[make.backend(family, 1)]))
    assert not is_kube_proxys([whole], family)
    telling = [
        RuleKey("nat", names.SERVICES),
        RuleKey("mangle", names.SOURCES),
        SetKey(names.SETS[family].no_endpoints),
        SetKey(names.SETS[family].cluster_ip),
        next(key for key in whole if isinstance(key, VirtualKey) and key.mark),
    ]
    for key in telling:
        beside = {other: value for other, value in kube_proxys(family).items() if other != key}
        assert not is_kube_proxys([beside, {key: whole[key]}], family), key
    exchange = {SetKey(names.spare(names.SETS[family].cluster_ip)): "hash:ip,port"}
    assert not is_kube_proxys([kube_proxys(family), exchange], family)


@pytest.mark.parametrize("family", Family)
def test_beside_ours_only_what_has_no_name_of_ours_is_kube_proxys(family):
    whole = desired(family, make.route(family, backends=[make.backend(family, 1)]))
    both = {**kube_proxys(family), **whole}
    left = without_kube_proxys(both, family)
    assert left.keys() >= whole.keys()
    assert sorted(type(key).__name__ for key in both.keys() - left.keys()) == ["RuleKey", "RuleKey", "SetKey"]
