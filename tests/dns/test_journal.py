"""What the agent tells: everything once, then differences, and nothing that changes no answer."""

from fakes.dns_cluster import catalog_of, endpoint, endpoint_slice, import_slice, pod, service, service_import, snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pointsman.dns.catalog import Catalog
from pointsman.dns.facts import ServiceFact, packed
from pointsman.dns.feed import Change, Synced
from pointsman.dns.journal import PORTION, SERVICE, Journal, portions
from pointsman.dns.owners import number
from pointsman.kube.events import Batch, Remove, Replace, Upsert
from pointsman.kube.objects import Kind, Namespace, ObjectMeta, ref_of
from pointsman.routing.snapshot import ImportKey, ServiceKey, advance

WEB = service("web", "10.96.0.1")
SLICE = endpoint_slice("web", endpoint("10.0.0.1"))
FEW = PORTION // SERVICE


def begun(*objects):
    journal, snapshot = Journal(pods=True), snapshot_of(*objects)
    return journal, snapshot, list(journal.whole(snapshot, 100.0))


def test_the_whole_list_begins_and_ends():
    _, _, told = begun(WEB, SLICE, pod("p", "10.0.0.9"))
    assert told[0].begin
    assert told[0].serial == 100
    assert isinstance(told[-1], Synced)
    assert [fact.name for part in told[:-1] for fact in part.services] == ["web"]
    assert [fact.name for part in told[:-1] for fact in part.pods] == ["p"]


def test_rec_110_pods_are_known_when_they_have_been_read_and_are_told():
    unread = snapshot_of(WEB)
    unread = structs.replace(unread, synced=unread.synced - {Kind.POD})
    journal = Journal(pods=True)
    assert not list(journal.whole(unread, 100.0))[-1].pods_known
    after, dirty = advance(unread, Batch((Replace(Kind.POD, ()),)))
    assert journal.step(after, dirty, 200.0).pods_known
    assert journal.step(after, dirty, 300.0) is None
    assert list(journal.whole(after, 400.0))[-1].pods_known
    assert not list(Journal().whole(after, 400.0))[-1].pods_known


def test_rec_93_what_changes_no_answer_is_not_told():
    journal, snapshot, _ = begun(WEB, SLICE)
    after, dirty = advance(snapshot, Batch((Upsert(endpoint_slice("web", endpoint("10.0.0.1", ready=True))),)))
    assert dirty.services
    assert journal.step(after, dirty, 200.0) is None


def test_a_change_is_told_once_with_a_new_serial():
    journal, snapshot, _ = begun(WEB, SLICE)
    after, dirty = advance(snapshot, Batch((Upsert(endpoint_slice("web", endpoint("10.0.0.2"))),)))
    told = journal.step(after, dirty, 200.0)
    assert (len(told.services), told.serial) == (1, 200)
    assert journal.step(after, dirty, 300.0) is None


def test_a_service_that_is_gone_lives_on_in_its_slices_until_they_go():
    journal, snapshot, _ = begun(WEB, SLICE)
    after, dirty = advance(snapshot, Batch((Remove(ref_of(WEB)),)))
    assert journal.step(after, dirty, 200.0).services[0].kind == 3
    last, dirty = advance(after, Batch((Remove(ref_of(SLICE)),)))
    assert journal.step(last, dirty, 300.0).services_gone == (("shop", "web"),)


def test_who_is_held_is_not_spoken_of():
    journal, snapshot, _ = begun()
    after, dirty = advance(snapshot, Batch((Upsert(WEB),)))
    assert journal.step(after, dirty, 200.0, held={ServiceKey("shop", "web")}) is None
    assert len(journal.step(after, dirty, 200.0).services) == 1


def test_namespaces_and_pods_come_and_go_without_a_new_serial():
    """REC-93 names Services, slices and pods; a pod that only comes is told with the next list."""
    journal, snapshot, _ = begun(pod("p", "10.0.0.9"))
    event = (Upsert(Namespace(ObjectMeta("new"))), Remove(ref_of(pod("p", "10.0.0.9"))))
    after, dirty = advance(snapshot, Batch(event))
    told = journal.step(after, dirty, 200.0)
    assert (told.namespaces, told.pods_gone, told.serial) == (("new",), (("shop", "p"),), 0)


def test_ext_01_imports_are_told_apart_with_a_serial_of_their_own():
    there = service_import("web", "10.96.0.9")
    journal, snapshot, told = begun(WEB, SLICE, there, import_slice("web", "east", endpoint("10.1.0.1")))
    assert [(fact.name, fact.imported) for part in told[:-1] for fact in (*part.services, *part.imports)] == [("web", False), ("web", True)]
    assert [fact.slices[0].cluster for part in told[:-1] for fact in part.imports] == ["east"]
    assert told[0].imports_serial == 100
    assert told[-1].imports_known
    more, dirty = advance(snapshot, Batch((Upsert(import_slice("web", "west", endpoint("10.2.0.1"))),)))
    news = journal.step(more, dirty, 200.0)
    assert (len(news.imports), news.services, news.serial, news.imports_serial) == (1, (), 0, 200)
    gone, dirty = advance(more, Batch((Remove(ref_of(there)),)))
    news = journal.step(gone, dirty, 300.0)
    assert (news.imports_gone, news.services_gone, news.serial, news.imports_serial) == ((("shop", "web"),), (), 0, 300)
    same, dirty = advance(gone, Batch((Remove(ref_of(import_slice("web", "west"))),)))
    assert dirty.imports == {ImportKey("shop", "web")}
    assert journal.step(same, dirty, 400.0) is None


def test_ext_01_imports_are_known_once_all_of_them_may_be_told():
    journal, snapshot, _ = begun(WEB)
    unread = structs.replace(snapshot, synced=snapshot.synced - {Kind.SERVICE_IMPORT})
    assert not list(journal.whole(unread, 100.0))[-1].imports_known
    after, dirty = advance(unread, Batch((Replace(Kind.SERVICE_IMPORT, (service_import("web", "10.96.0.9"),)),)))
    assert journal.step(after, dirty, 200.0, reduced=dict.fromkeys(dirty.imports)) is None
    told = journal.step(after, dirty, 200.0)
    assert (len(told.imports), told.imports_known) == (1, True)
    assert journal.step(after, dirty, 300.0) is None
    none, dirty = advance(unread, Batch((Replace(Kind.SERVICE_IMPORT, ()),)))
    list(journal.whole(unread, 100.0))
    assert journal.step(none, dirty, 200.0).imports_known


def test_services_with_many_endpoints_come_in_smaller_parts():
    """What the resolver does for a Service grows with its endpoints: fifty of a thousand would keep every answer waiting."""
    objects = []
    for each in range(30):
        objects.append(service(f"web{each}", "10.96.1.1"))
        objects.append(endpoint_slice(f"web{each}", *(endpoint(f"10.{each}.0.{place}") for place in range(200))))
    objects.append(service("huge", "10.96.1.2"))
    objects += [endpoint_slice("huge", *(endpoint(f"10.99.{many}.{place}") for place in range(250)), suffix=f"{many}") for many in range(5)]
    _, _, told = begun(*objects)
    parts = [part.services for part in told if isinstance(part, Change) and part.services]
    assert sum(map(len, parts)) == 31
    weights = [sum(SERVICE + len(list(fact.endpoints)) for fact in part) for part in parts]
    assert [weight for weight, part in zip(weights, parts, strict=True) if len(part) > 1 and weight > PORTION] == []
    assert max(weights) == SERVICE + 1250
    assert sorted(map(len, parts)) == sorted(len(part.services) for part in portions(Change(services=sum(parts, ()))) if part.services)


def test_a_change_of_many_services_comes_in_parts_that_delay_no_answer():
    old = [service(f"old{number}", "10.96.1.1") for number in range(120)]
    new = [service(f"new{number}", "10.96.1.2") for number in range(120)]
    journal, snapshot, told = begun(*old)
    events = (*(Remove(ref_of(one)) for one in old), *map(Upsert, new), Upsert(Namespace(ObjectMeta("more"))))
    after, dirty = advance(snapshot, Batch(events))
    imports = tuple(ServiceFact("shop", f"import{number}", imported=True) for number in range(120))
    imports_gone = tuple(("shop", f"former{number}") for number in range(120))
    whole = structs.replace(
        journal.step(after, dirty, 200.0), mark=7, triggered=(1.0,), namespaces_gone=("shop",), imports=imports, imports_gone=imports_gone,
        imports_serial=300, imports_known=True,
    )  # fmt: skip
    parts = list(portions(whole))
    assert max(len(part.services) + len(part.services_gone) + len(part.imports) + len(part.imports_gone) for part in parts) == FEW
    assert [part.imports_known for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[0].namespaces, parts[0].serial) == (("more",), 200)
    assert [part.mark for part in parts] == [0] * (len(parts) - 1) + [7]
    assert [part.triggered for part in parts if part.triggered] == [(1.0,)]
    assert parts[-1].namespaces_gone == ("shop",)
    apart, at_once = Catalog(), Catalog()
    for catalog, changes in ((apart, parts), (at_once, [whole])):
        for each in [*told[:-1], *changes]:
            catalog.apply(each)
    assert apart.services.facts == at_once.services.facts
    assert len(apart.services.facts) == len(apart.imports.facts) == 120
    assert apart.imports.facts == at_once.imports.facts
    assert (apart.namespaces, apart.serial, apart.imports_serial) == (at_once.namespaces, at_once.serial, at_once.imports_serial)
    small = Change(services=whole.services[:FEW], mark=1)
    assert list(portions(small)) == [small]


OBJECTS = [service("web", "10.96.0.1"), service("web", "None"), service("db", "10.96.0.2"), SLICE,
           endpoint_slice("web", endpoint("10.0.0.2", "h")),
           endpoint_slice("db", endpoint("10.0.0.1"), suffix="y"), Namespace(ObjectMeta("other")),
           service_import("web", "10.96.0.9"), service_import("web", headless=True), service_import("db", headless=True),
           import_slice("web", "east", endpoint("10.1.0.1")), import_slice("db", "east", endpoint("10.1.0.2")),
           import_slice("db", "west", endpoint("10.1.0.1"))]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(OBJECTS), st.booleans()), max_size=12))
@settings(max_examples=150)
def test_told_step_by_step_or_at_once_the_catalog_is_the_same(steps):
    journal, snapshot, told = begun()
    catalog = Catalog()
    for news in told:
        catalog.apply(news) if isinstance(news, Change) else catalog.finish(news)
    for value, there in steps:
        snapshot, dirty = advance(snapshot, Batch((Upsert(value) if there else Remove(ref_of(value)),)))
        news = journal.step(snapshot, dirty, 200.0)
        if news is not None:
            catalog.apply(news)
    objects = [*snapshot.services.values(), *(one for slices in snapshot.slices.values() for one in slices.values())]
    objects += snapshot.imports.values()
    fresh = catalog_of(*objects, namespaces=tuple(snapshot.namespaces))
    assert catalog.services.facts == fresh.services.facts
    assert catalog.imports.facts == fresh.imports.facts
    assert catalog.namespaces == fresh.namespaces
    for index in ("virtual", "endpoints"):
        ours, theirs = getattr(catalog, index), getattr(fresh, index)
        for address in ("10.96.0.1", "10.96.0.2", "10.0.0.1", "10.0.0.2"):
            assert set(ours.of(number(packed(address)))) == set(theirs.of(number(packed(address))))
        assert sum(map(len, ours._buckets)) == sum(map(len, theirs._buckets))
