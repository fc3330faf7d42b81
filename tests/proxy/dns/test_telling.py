"""What resolvers are told, and when: a complete list first, differences then, nothing of half a list."""

from fakes import objects as make
from msgspec import structs
from pointsman.dns.feed import Change, Synced
from pointsman.kube.events import Batch, Remove, Replace, Upsert
from pointsman.kube.objects import (
    Annotations,
    Kind,
    Namespace,
    ObjectMeta,
    ObjectRef,
    ServiceImport,
    ServiceImportSpec,
    ServicePort,
)
from pointsman.proxy.dns.telling import Telling
from pointsman.routing.snapshot import EMPTY, advance


class Listener:
    """A resolver that remembers what it is told."""

    def __init__(self):
        self.told = []
        self.marks = []

    def tell(self, value):
        self.told.append(value)

    async def done(self, mark, _seconds):
        self.marks.append(mark)
        return True

    def names(self):
        return [fact.name for one in self.told if isinstance(one, Change) for fact in one.services]


def lists(*services, namespaces=("shop",)):
    named = tuple(Namespace(ObjectMeta(name)) for name in namespaces)
    return Batch((Replace(Kind.SERVICE, services), Replace(Kind.ENDPOINT_SLICE, ()), Replace(Kind.NAMESPACE, named)))


def stepped(telling, snapshot, batch):
    after, dirty = advance(snapshot, batch)
    telling.advance(after, dirty)
    return after


def test_rec_110_nothing_is_told_of_half_a_list():
    telling, listener = Telling(clock=lambda: 7.0), Listener()
    telling.attach(listener)
    stepped(telling, EMPTY, Batch((Replace(Kind.SERVICE, (make.service(),)),)))
    assert (listener.told, telling.complete) == ([], False)


def test_everything_is_told_once_then_only_what_changes():
    telling, listener = Telling(clock=lambda: 7.0), Listener()
    telling.attach(listener)
    snapshot = stepped(telling, EMPTY, lists(make.service("web")))
    assert listener.names() == ["web"]
    assert listener.told[0].begin
    assert listener.told[-1] == Synced()
    snapshot = stepped(telling, snapshot, Batch((Upsert(make.service("cart")),)))
    assert listener.names() == ["web", "cart"]
    stepped(telling, snapshot, Batch((Remove(ObjectRef(Kind.SERVICE, "shop", "web")),)))
    assert listener.told[-1].services_gone == (("shop", "web"),)
    assert telling.last_change == 7.0
    assert telling.begun.is_set()


def test_who_comes_later_is_told_everything_and_who_has_left_nothing():
    telling, first, second = Telling(), Listener(), Listener()
    snapshot = stepped(telling, EMPTY, lists(make.service("web")))
    telling.attach(first)
    telling.attach(second)
    telling.detach(first)
    stepped(telling, snapshot, Batch((Upsert(make.service("cart")),)))
    assert (first.names(), second.names()) == (["web"], ["web", "cart"])


async def test_nld_40_beside_rules_a_name_waits_for_its_revision():
    telling, listener = Telling(gated=True), Listener()
    telling.attach(listener)
    snapshot = stepped(telling, EMPTY, lists(make.service("web")))
    telling.applied(None)
    assert (listener.told, telling.complete) == ([], False)  # a part of the first list would deny names that exist
    telling.applied(snapshot.revision)
    assert (listener.names(), telling.complete) == (["web"], True)
    snapshot = stepped(telling, snapshot, Batch((Upsert(make.service("cart")),)))
    assert (listener.names(), telling.waiting) == (["web"], 1)
    telling.applied(snapshot.revision)
    assert (listener.names(), telling.waiting) == (["web", "cart"], 0)
    snapshot = stepped(telling, snapshot, Batch((Remove(ObjectRef(Kind.SERVICE, "shop", "web")),)))
    assert listener.told[-1].services_gone == (("shop", "web"),)
    await telling.withdrawn()
    assert listener.marks == [listener.told[-1].mark]


def test_rec_112_a_saved_state_stands_in_until_the_first_list():
    telling, listener = Telling(gated=True), Listener()
    saved, _ = advance(EMPTY, lists(make.service("old")))
    telling.assume(saved)
    telling.attach(listener)
    assert (listener.names(), listener.told[-1], telling.complete) == (["old"], Synced(stale=True), False)
    snapshot = stepped(telling, EMPTY, lists(make.service("new")))
    assert telling.stale
    later = Listener()
    telling.attach(later)
    assert later.names() == ["old"]
    telling.applied(snapshot.revision)
    assert listener.names() == ["old", "new"]
    assert telling.complete
    assert not telling.stale


def test_what_changes_while_the_first_list_waits_waits_for_its_own_revision():
    telling, listener = Telling(gated=True), Listener()
    telling.attach(listener)
    first = stepped(telling, EMPTY, lists(make.service("web"), make.service("gone")))
    second = stepped(telling, first, Batch((Upsert(make.service("cart")), Remove(ObjectRef(Kind.SERVICE, "shop", "gone")))))
    telling.applied(first.revision)
    assert listener.names() == ["web"]
    telling.applied(second.revision)
    assert listener.names() == ["web", "cart"]


def test_rec_11_manifests_without_any_namespace_have_those_that_they_name():
    telling, listener = Telling(), Listener()
    telling.attach(listener)
    snapshot = stepped(telling, EMPTY, lists(make.service("web"), namespaces=()))
    assert listener.told[0].namespaces == ("shop",)
    stepped(telling, snapshot, Batch((Upsert(make.service("web", namespace="bank")),)))
    assert listener.told[-1].namespaces == ("bank",)


def imported(name, *addresses):
    return ServiceImport(ObjectMeta(name, "shop"), ServiceImportSpec("ClusterSetIP", addresses, (ServicePort(80, "http", "TCP"),)))


def test_ext_01_an_import_waits_for_the_rules_of_the_service_that_stands_for_it():
    """Until then nobody may say that it does not exist."""
    telling, listener = Telling(gated=True), Listener()
    telling.attach(listener)
    first = stepped(telling, EMPTY, lists(make.service("web")))
    telling.applied(first.revision)
    assert not listener.told[-1].imports_known
    listed = Batch((Replace(Kind.SERVICE_IMPORT, (imported("db", "10.96.0.9"),)), Upsert(make.service("derived", clusterIP="10.96.0.9"))))
    second = stepped(telling, first, listed)
    assert (listener.names(), telling.waiting) == (["web"], 2)
    assert not any(one.imports or one.imports_known for one in listener.told if isinstance(one, Change))
    telling.applied(second.revision)
    assert ([fact.name for fact in listener.told[-1].imports], listener.names()) == (["db"], ["web", "derived"])
    assert listener.told[-1].imports_known
    moved = stepped(telling, second, Batch((Upsert(imported("db", "10.96.0.8")),)))
    assert [fact.addresses for fact in listener.told[-1].imports] == [()]  # the name stays, the former address goes at once
    telling.applied(moved.revision)
    assert [len(fact.addresses) for fact in listener.told[-1].imports] == [1]
    stepped(telling, moved, Batch((Remove(ObjectRef(Kind.SERVICE_IMPORT, "shop", "db")),)))
    assert listener.told[-1].imports_gone == (("shop", "db"),)


def test_ext_01_a_list_of_no_imports_is_told_too():
    telling, listener = Telling(), Listener()
    telling.attach(listener)
    snapshot = stepped(telling, EMPTY, lists(make.service("web")))
    stepped(telling, snapshot, Batch((Replace(Kind.SERVICE_IMPORT, ()),)))
    assert listener.told[-1] == Change(imports_known=True)


async def test_obs_17_the_moment_of_a_change_goes_with_it_when_it_is_told():
    telling, listener = Telling(gated=True, clock=lambda: 7.0), Listener()
    telling.attach(listener)
    first = stepped(telling, EMPTY, lists(make.service("db", clusterIP="None")))
    telling.applied(first.revision)
    value = make.endpoint_slice(make.endpoint("10.0.0.1"), owner="db")
    value = structs.replace(value, metadata=structs.replace(value.metadata, annotations=Annotations("1970-01-01T00:00:09Z")))
    second = stepped(telling, first, Batch((Upsert(value),)))
    assert not any(one.triggered for one in listener.told if isinstance(one, Change))
    telling.applied(second.revision)
    assert listener.told[-1].triggered == (9.0,)
    third = stepped(telling, second, Batch((Upsert(make.service("web")),)))
    telling.applied(third.revision)
    assert listener.told[-1].triggered == ()
