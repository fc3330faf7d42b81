"""The catalog: what changed, in tags, and what a repeated list leaves."""

from fakes.dns_cluster import catalog_of, endpoint, endpoint_slice, service, snapshot_of
from pointsman.dns.catalog import Catalog, Pods, label, service_key
from pointsman.dns.facts import PodFact, packed
from pointsman.dns.feed import Change, Synced
from pointsman.dns.journal import Journal, fact_of
from pointsman.dns.owners import number
from pointsman.routing.snapshot import ServiceKey

WEB = service("web", "10.96.0.1")
SLICE = endpoint_slice("web", endpoint("10.0.0.1"))
KEY = service_key("shop", "web")


def fact(*objects):
    return fact_of(snapshot_of(*objects), ServiceKey("shop", "web"))


def test_keys_are_what_stands_in_a_question():
    assert KEY == b"\x03web\x04shop"
    assert label("Shop") == b"\x04shop"


def test_a_new_service_tells_its_key_and_its_addresses():
    catalog = Catalog()
    tags = catalog.apply(Change(services=(fact(WEB, SLICE),)))
    assert tags == {KEY, number(packed("10.96.0.1")), number(packed("10.0.0.1"))}
    assert catalog.apply(Change(services=(fact(WEB, SLICE),))) == set()
    assert catalog.endpoints.of(number(packed("10.0.0.1"))) == (KEY,)


def test_an_endpoint_that_goes_takes_its_address_along():
    catalog = catalog_of(WEB, SLICE)
    tags = catalog.apply(Change(services=(fact(WEB),)))
    assert number(packed("10.0.0.1")) in tags
    assert catalog.endpoints.of(number(packed("10.0.0.1"))) == ()


def test_several_services_share_an_address():
    catalog = catalog_of(WEB, SLICE, service("two", "10.96.0.2"), endpoint_slice("two", endpoint("10.0.0.1")))
    address = number(packed("10.0.0.1"))
    assert set(catalog.endpoints.of(address)) == {KEY, service_key("shop", "two")}
    catalog.apply(Change(services_gone=(("shop", "web"),)))
    assert catalog.endpoints.of(address) == (service_key("shop", "two"),)


def test_a_changed_host_name_tells_the_address_too():
    """The PTR of the address changes, though the address stays."""
    catalog = catalog_of(WEB, SLICE)
    assert number(packed("10.0.0.1")) in catalog.apply(Change(services=(fact(WEB, endpoint_slice("web", endpoint("10.0.0.1", "h"))),)))


def test_of_many_slices_those_that_differ_are_looked_at():
    """An address may stand in two slices, and stays as long as one has it; its names may differ all the same."""
    def slices(*contents):
        return [endpoint_slice("web", *(endpoint(*one) for one in each), suffix=f"s{place}") for place, each in enumerate(contents)]

    first, middle, last = (("10.0.0.1",),), (("10.0.0.2",), ("10.0.0.1", "h")), (("10.0.0.3",),)
    catalog = catalog_of(WEB, *slices(first, middle, last))
    tags = catalog.apply(Change(services=(fact(WEB, *slices(first, (("10.0.0.4",),), last)),)))
    always = {KEY, number(packed("10.96.0.1"))}
    assert tags - always == {number(packed(f"10.0.0.{place}")) for place in (1, 2, 4)}
    assert [catalog.endpoints.of(number(packed(f"10.0.0.{place}"))) for place in (1, 2, 3, 4)] == [(KEY,), (), (KEY,), (KEY,)]
    assert catalog.apply(Change(services=(fact(WEB, *slices(first, last)),))) - always == {number(packed("10.0.0.4"))}
    tags = catalog.apply(Change(services=(fact(WEB, *slices(first, first, last)),)))
    assert tags - always == {number(packed("10.0.0.1"))}
    assert catalog.apply(Change(services_gone=(("shop", "web"),))) >= {KEY, number(packed("10.0.0.3"))}
    assert not any(catalog.endpoints._buckets)


def test_a_repeated_list_keeps_what_it_names_and_drops_the_rest_at_its_end():
    catalog = catalog_of(WEB, SLICE, service("old", "10.96.0.9"), namespaces=("shop", "gone"))
    told = list(Journal().whole(snapshot_of(WEB, SLICE), 1.0))
    tags = set()
    for news in told[:-1]:
        tags |= catalog.apply(news)
    assert catalog.services.get(service_key("shop", "old")) is not None
    assert tags == set()
    assert catalog.finish(told[-1]) == {service_key("shop", "old"), label("gone"), number(packed("10.96.0.9"))}
    assert catalog.services.get(service_key("shop", "old")) is None
    assert catalog.namespaces == {label("shop")}


def test_it_is_synced_when_a_list_is_complete_and_stale_when_that_is_old():
    catalog = Catalog()
    assert not catalog.synced
    catalog.finish(Synced(stale=True))
    assert catalog.synced
    assert catalog.stale


def test_ipv4_and_ipv6_addresses_never_share_a_number():
    assert number(packed("0.0.0.1")) != number(packed("::1"))


def test_pods_are_found_by_text_and_by_address():
    pods = Pods()
    fact = PodFact("shop", "a", "fd00::1", (packed("fd00::1"),))
    pods.put(fact)
    assert pods.has("shop", "fd00::1")
    assert not pods.has("shop", "fd00:0::1")
    assert not pods.has("other", "fd00::1")
    assert pods.at(packed("fd00::1")) == fact
    pods.put(PodFact("shop", "b", "fd00::1", (packed("fd00::1"),)))
    pods.drop(("shop", "a"))
    assert pods.has("shop", "fd00::1")
    assert pods.at(packed("fd00::1")).name == "b"
    pods.drop(("shop", "b"))
    assert not pods.has("shop", "fd00::1")
    assert pods.at(packed("fd00::1")) is None


def test_imports_are_apart_from_services():
    catalog = Catalog()
    assert catalog.apply(Change(imports=(fact(WEB),))) == {b"\x00" + KEY}
    assert catalog.services.get(KEY) is None
    assert catalog.apply(Change(imports_gone=(("shop", "web"),))) == {b"\x00" + KEY}


def test_ext_01_whether_imports_are_known_is_told_with_a_list_or_later():
    catalog = Catalog()
    catalog.apply(Change(begin=True, imports=(fact(WEB),), serial=5, imports_serial=6))
    catalog.finish(Synced(imports_known=True))
    assert (catalog.imports_known, catalog.serial, catalog.imports_serial) == (True, 5, 6)
    catalog.apply(Change(begin=True, serial=7))
    assert catalog.finish(Synced()) == {b"\x00" + KEY}
    assert (catalog.imports_known, catalog.serial, catalog.imports_serial) == (False, 7, 6)
    catalog.apply(Change(imports_known=True))
    catalog.apply(Change(serial=8))
    assert catalog.imports_known
