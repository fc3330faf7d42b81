"""The source as a whole, with a server in memory and on virtual time."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from fakes import virtual
from fakes.apiserver import SERVICES, FakeApi, FakeClient
from pointsman.kube import api as module
from pointsman.kube.api import ApiSource
from pointsman.kube.errors import ApiError
from pointsman.kube.objects import Kind, ObjectRef
from pointsman.kube.reflector import LONGEST
from pointsman.kube.resource import OTHERS, SOON
from pointsman.routing.snapshot import EMPTY, ImportKey, ServiceKey, advance

DOWN = ApiError(0, "connection refused")


class Watched:
    """A running source and what it said so far."""

    def __init__(self, api):
        self.api = api
        self.client = FakeClient(api)
        self.batches = []
        self.snapshot = EMPTY
        self.problems = ()
        self.began = None

    def sink(self, batch):
        self.batches.append(batch)
        self.snapshot, _ = advance(self.snapshot, batch)
        if batch.problems is not None:
            self.problems = batch.problems
        if batch.events and self.began is None:
            self.began = asyncio.get_running_loop().time()

    @property
    def names(self):
        return {key.name for key in self.snapshot.services}


@asynccontextmanager
async def running(api, **options):
    watched = Watched(api)
    watched.source = ApiSource(watched.client, "n1", dice=lambda: 0.5, **options)
    task = asyncio.create_task(watched.source.run(watched.sink))
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def cluster(**options):
    api = FakeApi(**options)
    api.service("web")
    api.put("EndpointSlice", "web-1", addressType="IPv4", labels={"kubernetes.io/service-name": "web"})
    api.put("Node", "n1", status={"addresses": [{"type": "InternalIP", "address": "192.168.0.1"}]})
    api.put("Namespace", "default")
    api.put("ServiceCIDR", "kubernetes", spec={"cidrs": ["10.96.0.0/16"]})
    return api


def test_pain_25_nodes_are_this_one_or_all_of_them():
    """IN-03, unless a mode makes addresses its own."""

    async def selectors(**options):
        api = cluster()
        async with running(api, **options):
            await asyncio.sleep(1)
            return {query.get("fieldSelector", "") for path, query in api.asked if path == "/api/v1/nodes"}

    async def main():
        assert await selectors() == {"metadata.name=n1"}
        assert await selectors(all_nodes=True) == {""}

    virtual.run(main)


def test_the_first_batch_holds_everything():
    """In one piece, so that nothing is programmed that is taken back a moment later."""

    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            [first] = watched.batches
            assert {event.kind for event in first.events} == {
                Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.NODE, Kind.NAMESPACE, Kind.SERVICE_CIDR,
            }
            assert watched.snapshot.in_sync
            assert set(watched.snapshot.slices) == {ServiceKey("default", "web")}
            assert set(watched.snapshot.nodes) == {"n1"}

    virtual.run(main)


def test_changes_follow_at_once():
    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            watched.api.service("shop")
            watched.api.delete("Service", "web")
            await asyncio.sleep(0.001)
            assert watched.names == {"shop"}

    virtual.run(main)


def test_in_07_services_alone_begin_nothing_however_long_slices_take():
    async def main():
        api = cluster()
        api.refusals["endpointslices"] = lambda _: ApiError(403, "endpointslices is forbidden")
        async with running(api) as watched:
            await asyncio.sleep(3600)
            assert watched.began is None
            [problem] = watched.problems
            assert (problem.subject, problem.where) == ("EndpointSlice", watched.client.host)
            assert "forbidden" in problem.text
            api.refusals.clear()
            await asyncio.sleep(60)
            assert watched.snapshot.in_sync
            assert watched.problems == ()

    virtual.run(main)


def test_the_start_waits_some_seconds_for_the_rest():
    async def main():
        api = cluster()
        api.refusals["nodes"] = lambda _: ApiError(500, "boom")
        async with running(api) as watched:
            start = asyncio.get_running_loop().time()
            await asyncio.sleep(60)
            assert module.REST_SECONDS <= watched.began - start < module.REST_SECONDS + 1
            api.refusals.clear()
            await asyncio.sleep(60)
            assert set(watched.snapshot.nodes) == {"n1"}

    virtual.run(main)


@pytest.mark.parametrize("code", [503, 403])
def test_one_that_follows_lacks_nothing_that_was_known(code):
    """Pods of this node were, and those of all nodes are to be: to begin without them would deny those of the others."""

    async def main():
        api = cluster()
        api.refusals["pods"] = lambda _: ApiError(code, "no")
        async with running(api, all_pods=True, after={Kind.SERVICE, Kind.POD, Kind.SERVICE_CIDR}) as watched:
            await asyncio.sleep(600)
            assert watched.began is None
            api.refusals.clear()
            await asyncio.sleep(600)
            assert Kind.POD in watched.snapshot.synced
            assert Kind.POD in {event.kind for event in next(batch for batch in watched.batches if batch.events).events}

    virtual.run(main)


def test_one_that_follows_does_without_what_nobody_knew_and_what_is_not_there():
    async def main():
        api = cluster()
        api.refusals["pods"] = lambda _: ApiError(403, "no")
        api.refusals["servicecidrs"] = lambda _: ApiError(404, "not there")
        async with running(api, all_pods=True, after={Kind.SERVICE, Kind.SERVICE_CIDR}) as watched:
            await asyncio.sleep(5)
            assert watched.names == {"web"}
            assert Kind.POD not in watched.snapshot.synced

    virtual.run(main)


def test_after_its_end_it_says_nothing():
    async def main():
        api = cluster()
        api.refusals["nodes"] = lambda _: ApiError(500, "boom")
        async with running(api) as watched:
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert watched.began is None

    virtual.run(main)


def test_optional_kinds_that_are_missing_or_denied_delay_nothing(caplog):
    async def main():
        api = cluster()
        api.refusals["servicecidrs"] = lambda _: ApiError(404, "not found")
        api.refusals["namespaces"] = lambda _: ApiError(403, "namespaces is forbidden")
        async with running(api) as watched:
            await asyncio.sleep(1)
            assert watched.snapshot.in_sync
            await asyncio.sleep(3600)
            assert watched.problems == ()

    with caplog.at_level(logging.WARNING):
        virtual.run(main)
    told = {record.kind: record for record in caplog.records}
    assert sorted(told) == ["Namespace", "ServiceCIDR"]
    assert told["Namespace"].right == "list and watch namespaces"
    assert told["Namespace"].lost


@pytest.mark.parametrize(("code", "known"), [(404, True), (403, False)])
def test_ext_01_of_a_kind_that_is_not_there_there_are_none_of_a_denied_one_nobody_knows(code, known):
    async def main():
        api = cluster()
        api.refusals["serviceimports"] = lambda _: ApiError(code, "no")
        async with running(api, imports=True) as watched:
            await asyncio.sleep(1)
            assert (Kind.SERVICE_IMPORT in watched.snapshot.synced) == known
            api.refusals["serviceimports"] = lambda _: ApiError(404, "no")
            await asyncio.sleep(2 * SOON)
            assert Kind.SERVICE_IMPORT in watched.snapshot.synced
            api.refusals.clear()
            api.put("ServiceImport", "web", spec={"type": "Headless", "ports": []})
            await asyncio.sleep(2 * SOON)
            assert set(watched.snapshot.imports) == {ImportKey("default", "web")}
            api.refusals["serviceimports"] = lambda _: ApiError(404, "no")  # what was read stays
            await asyncio.sleep(3600)
            assert set(watched.snapshot.imports) == {ImportKey("default", "web")}

    virtual.run(main)


def test_in_08_what_was_read_stays_while_the_server_is_away_and_is_told_once():
    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            before = watched.snapshot
            watched.client.down = DOWN
            watched.client.cut(ApiError(0, "connection lost"))
            await asyncio.sleep(4 * 3600)
            assert watched.snapshot == before
            assert len(watched.batches) == 2
            [problem] = watched.problems
            assert problem.subject == "Service, EndpointSlice, Node, ServiceCIDR, Namespace"
            assert problem.text == "connection lost; what was read last stays in force"
            watched.client.down = None
            watched.api.service("shop")
            await asyncio.sleep(module.LASTING_SECONDS + 30)
            assert watched.names == {"web", "shop"}
            assert watched.problems == ()

    virtual.run(main)


def test_when_one_gets_through_all_others_try_at_once():
    async def main():
        async with running(cluster()) as watched:
            watched.client.down = DOWN
            await asyncio.sleep(200)
            watched.client.down = None
            await asyncio.sleep(LONGEST)
            assert max(watched.client.reached) - min(watched.client.reached) < 0.2
            assert watched.snapshot.in_sync

    virtual.run(main)


def test_a_short_failure_is_not_told():
    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            for _ in range(20):
                watched.client.cut(ApiError(0, "connection lost"))
                await asyncio.sleep(20)
            assert len(watched.batches) == 1

    virtual.run(main)


def test_watches_that_end_in_order_are_opened_again_without_a_word():
    async def main():
        async with running(cluster()) as watched:
            for _ in range(10):
                await asyncio.sleep(60)
                watched.client.cut()
            await asyncio.sleep(1)
            watched.api.service("shop")
            await asyncio.sleep(1)
            assert watched.names == {"web", "shop"}
            assert len(watched.batches) == 2

    virtual.run(main)


def test_a_silent_server_is_left_and_asked_again():
    """A connection that hangs without an end is noticed by the bookmarks that do not come."""

    async def main():
        api = cluster()
        async with running(api) as watched:
            await asyncio.sleep(1)
            before = len(api.asked)
            api.changed = asyncio.Event()  # streams that are open hear of nothing any more
            api.objects["Service", "web"]["spec"]["ports"] = []
            await asyncio.sleep(200)
            assert len(api.asked) >= before + 5
            assert watched.problems == ()

    virtual.run(main)


def test_broken_objects_are_told_and_taken_back():
    async def main():
        api = cluster()
        api.service("sad", "eighty")
        async with running(api) as watched:
            await asyncio.sleep(5)
            assert watched.names == {"web"}
            [problem] = watched.problems
            assert (problem.subject, problem.field) == ("Service default/sad", "spec.ports[0].port")
            assert "absent" in problem.text
            api.service("sad", 80)
            await asyncio.sleep(5)
            assert watched.names == {"web", "sad"}
            assert watched.problems == ()

    virtual.run(main)


def test_very_many_broken_objects_are_counted():
    async def main():
        api = cluster()
        for number in range(module.TOLD + 7):
            api.service(f"sad-{number}", "eighty")
        async with running(api) as watched:
            await asyncio.sleep(5)
            assert len(watched.problems) == module.TOLD + 1
            assert watched.problems[-1].text.startswith("7 more objects")

    virtual.run(main)


def test_a_server_without_streamed_lists_serves_as_well():
    async def main():
        async with running(cluster(streams=False, page_limit=1)) as watched:
            await asyncio.sleep(1)
            assert watched.snapshot.in_sync
            assert watched.names == {"web"}
            watched.api.service("shop")
            await asyncio.sleep(0.001)
            assert watched.names == {"web", "shop"}

    virtual.run(main)


def test_a_lost_past_means_a_new_list_and_only_differences_count():
    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            revision = watched.snapshot.revision
            watched.client.cut(ApiError(410, "too old"))
            await asyncio.sleep(5)
            assert watched.snapshot.revision == revision
            watched.client.down = DOWN
            watched.client.cut(DOWN)
            await asyncio.sleep(1)
            watched.api.delete("Service", "web")
            watched.api.service("shop")
            watched.api.compact()
            watched.client.down = None
            await asyncio.sleep(60)
            assert watched.names == {"shop"}

    virtual.run(main)


def test_a_clock_that_jumps_ahead_only_asks_anew():
    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            asyncio.get_running_loop().skip(30 * 24 * 3600)
            await asyncio.sleep(10)
            watched.api.service("shop")
            await asyncio.sleep(1)
            assert watched.names == {"web", "shop"}
            assert watched.problems == ()

    virtual.run(main)


def test_in_01_services_of_other_proxies_are_told_when_asked():
    async def main():
        api = cluster()
        async with running(api) as watched:
            await asyncio.sleep(1)
            api.put("Service", "theirs", labels={OTHERS: "other"}, spec={"clusterIP": "10.96.0.7"})
            api.put("Service", "odd", labels={OTHERS: ""}, spec={"ports": "none"})
            await asyncio.sleep(1)
            api.asked.clear()
            assert await watched.source.elsewhere() == {ObjectRef(Kind.SERVICE, "default", name) for name in ("theirs", "odd")}
            assert api.asked == [
                (SERVICES, {"labelSelector": OTHERS, "resourceVersion": str(api.version), "resourceVersionMatch": "NotOlderThan"})
            ]
            watched.client.down = DOWN
            with pytest.raises(ApiError):
                await watched.source.elsewhere()

    virtual.run(main)


def test_requests_carry_the_selectors():
    async def main():
        async with running(cluster()) as watched:
            await asyncio.sleep(1)
            [(_, query), *_] = [one for one in watched.api.asked if one[0] == SERVICES]
            assert query["fieldSelector"] == "spec.clusterIP!=None"

    virtual.run(main)
