"""What may be told of a Service while its rules are not there: what its old and its new state have in common."""

import pytest
from msgspec import structs
from pointsman.dns.entries import Rules, Wanted, entries
from pointsman.dns.facts import CLUSTER, EXTERNAL, HEADLESS, EndpointFact, PortFact, ServiceFact, SliceFact
from pointsman.kube.events import Batch, Remove, Upsert
from pointsman.kube.objects import Kind, ObjectMeta, ObjectRef, Service, ServicePort, ServiceSpec
from pointsman.proxy.dns.gate import Gate, common
from pointsman.routing.snapshot import EMPTY, ServiceKey, advance

HTTP, DNS = PortFact("http", "TCP", 80), PortFact("dns", "UDP", 53)
ONE, TWO = EndpointFact(b"\n\0\0\1"), EndpointFact(b"\n\0\0\2")
WEB = ServiceFact("shop", "web", CLUSTER, (b"\n`\0\1",), (HTTP,), slices=(SliceFact((HTTP,), (ONE,)),))
KEY = ServiceKey("shop", "web")


def service(address):
    return Service(ObjectMeta("web", "shop"), ServiceSpec(cluster_ip=address, cluster_ips=(address,), ports=(ServicePort(80),)))


def test_what_did_not_change_is_told():
    assert common(WEB, WEB) is WEB


def test_nothing_is_told_of_what_is_new_or_gone():
    assert common(None, WEB) is None
    assert common(WEB, None) is None
    assert common(WEB, structs.replace(WEB, kind=HEADLESS, addresses=())) is None


def test_another_address_is_not_told_and_the_old_one_no_more():
    assert common(WEB, structs.replace(WEB, addresses=(b"\n`\0\2",))) is None
    both = structs.replace(WEB, addresses=(b"\n`\0\1", b"\n`\0\2"))
    assert common(WEB, both) == WEB


def test_ext_01_an_import_keeps_its_name_while_its_address_changes():
    there = structs.replace(WEB, imported=True)
    assert common(there, structs.replace(there, addresses=(b"\n`\0\2",))) == structs.replace(there, addresses=())
    assert common(None, there) is None


def test_ports_and_endpoints_that_both_have_are_told():
    wanted = structs.replace(WEB, ports=(HTTP, DNS), slices=(SliceFact((HTTP,), (ONE, TWO)),))
    assert common(WEB, wanted) == WEB
    moved = structs.replace(WEB, slices=(SliceFact((HTTP,), (TWO,)),))
    assert list(common(WEB, moved).endpoints) == []


def test_nld_40_a_service_whose_ports_are_all_new_keeps_its_name():
    wanted = structs.replace(WEB, ports=(PortFact("web", "TCP", 81),))
    told = common(WEB, wanted)
    assert told == structs.replace(WEB, ports=(PortFact(),))
    assert [(one.address, one.port) for one in entries(told, Wanted(), Rules()).entries] == [(b"\n`\0\1", -1)]
    alias = ServiceFact("shop", "web", EXTERNAL, external_name="a.", slices=WEB.slices)
    assert common(alias, structs.replace(alias, slices=())) == structs.replace(alias, slices=())


@pytest.mark.parametrize("change", [{"zone": "b"}, {"target": "web-7"}, {"hostname": "one"}])
def test_nld_40_an_endpoint_that_is_only_called_otherwise_is_told_at_once(change):
    headless = structs.replace(WEB, kind=HEADLESS, addresses=())
    wanted = structs.replace(headless, slices=(SliceFact((HTTP,), (structs.replace(ONE, **change),)),))
    assert common(headless, wanted) == wanted


def test_another_external_name_is_not_told():
    assert common(structs.replace(WEB, external_name="a."), structs.replace(WEB, external_name="b.")) is None


def test_nld_40_a_service_waits_for_its_revision():
    gate = Gate()
    after, _ = advance(EMPTY, Batch((Upsert(service("10.96.0.1")),)))
    gate.advance(EMPTY, after, {KEY})
    assert gate.reduced == {KEY: None}
    assert gate.applied(after.revision - 1) == frozenset()
    assert gate.applied(after.revision) == {KEY}
    assert gate.reduced == {}


def test_what_comes_and_goes_before_its_rules_waits_no_more():
    gate = Gate()
    after, _ = advance(EMPTY, Batch((Upsert(service("10.96.0.1")),)))
    gate.advance(EMPTY, after, {KEY})
    gone, _ = advance(after, Batch((Remove(ObjectRef(Kind.SERVICE, "shop", "web")),)))
    gate.advance(after, gone, {KEY})
    assert gate.reduced == {}


def test_a_second_change_is_compared_with_what_was_told_not_with_what_was_wanted():
    gate = Gate()
    first, _ = advance(EMPTY, Batch((Upsert(service("10.96.0.1")),)))
    gate.advance(EMPTY, first, {KEY})
    second, _ = advance(first, Batch((Upsert(structs.replace(service("10.96.0.1"), metadata=ObjectMeta("web", "shop", "later"))),)))
    gate.advance(first, second, {KEY})
    assert gate.reduced == {KEY: None}
    assert gate.applied(first.revision) == frozenset()
    assert gate.applied(second.revision) == {KEY}
