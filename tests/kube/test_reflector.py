"""Whatever happens on the way, a reflector ends with what the server has."""

import random

import pytest
from fakes.apiserver import SERVICES, FakeApi, event, status
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube import reflector as module
from pointsman.kube.errors import ApiError
from pointsman.kube.events import Remove, Replace, Upsert
from pointsman.kube.objects import Kind, ref_of
from pointsman.kube.reflector import Fetch, Open, Reflector, Wait
from pointsman.kube.resource import ABSENT, SOON, resources

DICE = 0.5


class Follower:
    """Does what a reflector says with a server in memory, and keeps what it is told."""

    def __init__(self, api, kind=Kind.SERVICE, chunk=None):
        self.api = api
        self.now = 1000.0
        self.reflector = Reflector(next(one for one in resources("n1", imports=True) if one.kind is kind))
        self.known = {}
        self.replaced = 0
        self.waits = []
        self.watch = None
        self.chunk = chunk

    @property
    def names(self):
        return {ref.name: value.spec.ports[0].port for ref, value in self.known.items()}

    def step(self):
        """Do one thing."""
        if self.watch is not None:
            text = self.watch.pull()
            if text is None:
                self.end()
            elif text:
                self.feed(text)
            return
        step = self.reflector.step(self.now, DICE)
        try:
            match step:
                case Wait():
                    self.waits.append(step.seconds)
                    self.now += step.seconds
                case Fetch():
                    self.take(self.reflector.page(self.api.get(step.path, step.query), self.now, DICE))
                case Open():
                    watch = self.api.watch(step.path, step.query)
                    self.reflector.opened(self.now)
                    self.watch = watch
        except ApiError as error:
            self.fail(error)

    def feed(self, text):
        size = self.chunk or len(text) or 1
        for start in range(0, len(text), size):
            self.take(self.reflector.part(text[start:start + size], self.now, DICE))
        if not self.reflector.streaming:
            self.watch = None

    def fail(self, error):
        self.watch = None
        self.reflector.failed(error, self.now, DICE)

    def end(self):
        if self.watch is not None:
            self.watch = None
            self.take(self.reflector.ended(self.now, DICE))

    def take(self, events):
        for one in events:
            match one:
                case Replace():
                    self.replaced += 1
                    self.known = {ref_of(value): value for value in one.values}
                case Upsert():
                    self.known[ref_of(one.value)] = one.value
                case Remove():
                    self.known.pop(one.ref, None)

    def settle(self, steps=60):
        """Go on until there is nothing more to learn."""
        for _ in range(steps):
            self.step()


def follow(**options):
    api = FakeApi(**options)
    return api, Follower(api)


FORMS = [{}, {"streams": False}, {"streams": False, "wholes": False}]


@pytest.mark.parametrize("forms", FORMS, ids=["stream", "whole", "pages"])
def test_a_list_and_what_follows(forms):
    api, follower = follow(**forms)
    api.service("a", 1)
    api.service("b", 2)
    follower.settle()
    assert (follower.names, follower.replaced) == ({"a": 1, "b": 2}, 1)
    api.service("a", 9)
    api.delete("Service", "b")
    api.service("c", 3)
    follower.settle()
    assert (follower.names, follower.replaced) == ({"a": 9, "c": 3}, 1)


def test_nothing_is_told_before_a_list_is_complete():
    """IN-07: half a list would look like deletions."""
    api, follower = follow(streams=False, wholes=False, page_limit=1)
    for name in "abc":
        api.service(name)
    follower.settle(4)
    assert (follower.known, follower.reflector.listed) == ({}, False)  # two forms refused, two pages
    follower.step()
    assert set(follower.names) == {"a", "b", "c"}
    assert follower.reflector.listed


def test_in_06_what_vanished_while_nobody_watched_is_gone():
    api, follower = follow()
    api.service("a")
    api.service("b")
    follower.settle()
    follower.fail(ApiError(0, "connection lost"))
    api.delete("Service", "a")
    api.compact()
    follower.settle()
    assert (set(follower.names), follower.replaced) == ({"b"}, 2)


def test_a_watch_is_resumed_where_it_broke():
    api, follower = follow()
    api.service("a", 1)
    follower.settle()
    follower.fail(ApiError(0, "connection lost"))
    api.service("a", 2)
    follower.settle()
    assert (follower.names, follower.replaced) == ({"a": 2}, 1)
    assert api.asked[-1][1]["resourceVersion"] == "101"


def test_a_bookmark_moves_the_place_to_resume_at():
    api, follower = follow()
    follower.settle()
    api.put("Node", "n2")
    follower.watch.bookmark()
    follower.settle()
    follower.fail(ApiError(0, "connection lost"))
    api.compact()
    follower.settle()
    assert api.asked[-1][1]["resourceVersion"] == str(api.version)
    assert follower.replaced == 1


def test_410_in_the_midst_of_a_list_begins_it_again_with_larger_pages():
    api, follower = follow(streams=False, wholes=False, page_limit=1)
    api.service("a")
    api.service("b")
    follower.settle(3)
    api.compact()
    api.service("c")
    api.compact()
    follower.settle()
    assert set(follower.names) == {"a", "b", "c"}
    assert {query["limit"] for _, query in api.asked if "limit" in query} == {"500", "1000"}


def test_a_store_that_was_restored_is_listed_again():
    """Versions that go backwards mean another history; to wait for the old version could take for ever."""
    api, follower = follow()
    api.service("a")
    api.service("b")
    follower.settle()
    api.version = 10
    api.history.clear()
    api.delete("Service", "b")
    follower.feed(event("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "11"}}))
    follower.settle()
    assert (set(follower.names), follower.replaced) == ({"a"}, 2)


def test_a_server_that_answers_but_never_resumes_is_asked_for_the_list():
    api, follower = follow()
    api.service("a")
    follower.settle()
    follower.fail(ApiError(0, "connection lost"))
    api.refusals[SERVICES] = lambda query: ApiError(504, "Too large resource version") if "resourceVersion" in query else None
    api.service("b")
    follower.settle()
    assert (set(follower.names), follower.replaced) == ({"a", "b"}, 2)


@pytest.mark.parametrize("error", [ApiError(0, "connection refused"), ApiError(429, "slowly")])
def test_a_server_that_is_away_or_busy_is_not_asked_for_lists(error):
    api, follower = follow()
    follower.settle()
    follower.fail(error)
    api.refusals[SERVICES] = lambda _: error
    follower.settle(40)
    api.refusals.clear()
    follower.settle()
    assert (follower.reflector.trouble, follower.replaced) == (None, 1)


def test_older_stores_cannot_stream_lists_and_say_so_within_the_stream():
    api, follower = follow()
    api.service("a")
    follower.step()
    follower.watch._lines[:] = [event("ERROR", status(500, "required storage feature RequestWatchProgress is disabled"))]
    follower.settle(5)
    assert (set(follower.names), follower.waits) == ({"a"}, [])
    assert api.asked[1][1]["resourceVersion"] == "0"


def test_streams_that_always_break_give_way_to_pages():
    api, follower = follow()
    api.service("a")
    for _ in range(4 * module.BROKE):
        follower.step()
        if follower.watch is not None:
            follower.feed(b'{"type":"ADD')
            follower.end()
    follower.settle()
    assert set(follower.names) == {"a"}
    assert "limit" in api.asked[-2][1]


def test_a_list_that_breaks_off_counts_for_nothing():
    api, follower = follow(streams=False)
    api.service("a")
    api.service("b")
    follower.settle(2)
    follower.feed(follower.watch.pull()[:-5])
    follower.end()
    assert not follower.reflector.listed
    follower.settle()
    assert set(follower.names) == {"a", "b"}


def test_a_list_again_may_not_be_older_than_what_is_known():
    api, follower = follow(streams=False)
    api.service("a")
    follower.settle()
    follower.fail(ApiError(410, "too old"))
    follower.settle()
    query = next(query for _, query in reversed(api.asked) if "watch" not in query)
    assert (query["resourceVersion"], query["resourceVersionMatch"]) == ("101", "NotOlderThan")


def test_a_cache_that_lags_behind_gives_way_to_the_store():
    api, follower = follow(streams=False, wholes=False)
    api.service("a")
    follower.settle()
    assert (set(follower.names), follower.waits) == ({"a"}, [])


def test_servers_that_do_not_know_the_field_selector_are_asked_without():
    api, follower = follow(streams=False)
    api.service("a")
    api.refusals[SERVICES] = lambda query: ApiError(400, "field label not supported") if "spec.clusterIP" in str(query) else None
    follower.settle()
    assert set(follower.names) == {"a"}
    assert all("labelSelector" in query for _, query in api.asked)
    api.service("b")
    follower.settle()
    assert set(follower.names) == {"a", "b"}


def test_in_04_the_older_version_of_service_cidrs_is_found():
    api = FakeApi()
    api.put("ServiceCIDR", "kubernetes", spec={"cidrs": ["10.96.0.0/16"]})
    api.refusals["/v1/servicecidrs"] = lambda _: ApiError(404, "not found")
    follower = Follower(api, Kind.SERVICE_CIDR)
    follower.settle()
    assert [ref.name for ref in follower.known] == ["kubernetes"]
    assert follower.waits == []


def test_ext_01_what_a_corefile_asks_for_is_looked_for_again_soon_and_in_both_versions():
    api = FakeApi()
    api.refusals["serviceimports"] = lambda _: ApiError(404, "no")
    follower = Follower(api, Kind.SERVICE_IMPORT)
    follower.settle(30)
    assert set(follower.waits) == {SOON * 1.5}
    api.refusals = {"v1alpha1/serviceimports": lambda _: ApiError(404, "no")}
    api.put("ServiceImport", "web", spec={"type": "Headless", "ports": []})
    follower.settle()
    assert [ref.name for ref in follower.known] == ["web"]


@pytest.mark.parametrize("code", [403, 404])
def test_an_optional_kind_is_looked_for_again_now_and_then(code):
    api = FakeApi()
    api.refusals["servicecidrs"] = lambda _: ApiError(code, "no")
    follower = Follower(api, Kind.SERVICE_CIDR)
    follower.settle(30)
    assert follower.reflector.given_up
    assert set(follower.waits) == {ABSENT * 1.5}
    api.refusals.clear()
    api.put("ServiceCIDR", "kubernetes", spec={"cidrs": ["10.96.0.0/16"]})
    follower.settle()
    assert follower.known
    assert not follower.reflector.given_up


def test_a_needed_kind_is_never_given_up():
    api, follower = follow()
    api.refusals[SERVICES] = lambda _: ApiError(403, "forbidden")
    follower.settle()
    assert not follower.reflector.given_up
    assert max(follower.waits) <= module.LONGEST


def test_waits_double_and_stay_short_enough():
    api, follower = follow()
    api.refusals[SERVICES] = lambda _: ApiError(0, "refused")
    follower.settle(40)
    assert follower.waits[:4] == [0.375, 0.75, 1.5, 3.0]
    assert follower.waits[-1] == module.LONGEST * 0.75


def test_retry_after_is_obeyed_and_bounded():
    reflector = Follower(FakeApi()).reflector
    reflector.failed(ApiError(429, "slowly", 7), 0.0, 0.0)
    assert reflector.step(0.0, 0.0) == Wait(7.0)
    reflector.failed(ApiError(429, "slowly", 1e9), 0.0, 0.0)
    assert reflector.step(0.0, 0.0) == Wait(module.LONGEST_ASKED)


def test_hurrying_helps_only_those_who_got_no_answer():
    reflector = Follower(FakeApi()).reflector
    reflector.failed(ApiError(0, "refused"), 0.0, 1.0)
    reflector.hurry(0.1)
    assert isinstance(reflector.step(0.1, 0.0), Open)
    reflector.failed(ApiError(429, "slowly", 7), 0.1, 0.0)
    reflector.hurry(0.2)
    assert isinstance(reflector.step(0.2, 0.0), Wait)


def test_a_silent_server_is_noticed_sooner_if_it_used_to_send_bookmarks():
    api, follower = follow(streams=False)
    api.service("a")
    follower.settle()
    agreed = module.WATCH * (1 + DICE)
    assert follower.reflector.patience(follower.now) == agreed + module.GRACE
    follower.watch.bookmark()
    follower.step()
    assert follower.reflector.patience(follower.now) == module.SILENCE
    assert follower.reflector.patience(follower.now + agreed + 100) == module.GRACE


def test_a_server_that_ends_each_watch_at_once_is_left_alone():
    follower = Follower(FakeApi())
    follower.settle()
    for _ in range(12):
        follower.end()
        follower.step()
    assert len(follower.waits) >= 5
    follower.settle()
    waited = len(follower.waits)
    follower.now += module.BRIEF
    follower.end()
    follower.settle()
    assert len(follower.waits) == waited


def test_a_broken_object_is_absent_until_it_is_mended():
    api, follower = follow()
    api.service("a")
    api.service("b", "eighty")
    follower.settle()
    assert set(follower.names) == {"a"}
    assert [error.subject for error in follower.reflector.broken.values()] == ["Service default/b"]
    api.service("b", 80)
    api.service("a", "x")
    follower.settle()
    assert set(follower.names) == {"b"}
    assert [error.subject for error in follower.reflector.broken.values()] == ["Service default/a"]
    api.delete("Service", "a")
    follower.settle()
    assert follower.reflector.broken == {}


FAULTS = st.sampled_from(["fail", "end", "garbage", "half", "500", "429", "410", "403", "compact", "bookmark", "refuse", "wait"])
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(1, 9)),
    st.tuples(st.just("delete"), st.sampled_from("abcdef"), st.just(0)),
    st.tuples(FAULTS, st.just(""), st.integers(0, 60)),
    st.tuples(st.just("step"), st.just(""), st.integers(1, 4)),
)


def apply(operation, api, follower):
    what, name, number = operation
    match what:
        case "put":
            api.service(name, number if number < 9 else "broken")
        case "delete":
            api.delete("Service", name)
        case "compact":
            api.compact()
        case "step":
            for _ in range(number):
                follower.step()
        case "wait":
            follower.now += number
        case "fail":
            follower.fail(ApiError(0, "connection lost"))
        case "end":
            follower.end()
        case "refuse":
            api.refusals[SERVICES] = iter_refusal(number)
        case "bookmark" if follower.watch is not None:
            follower.watch.bookmark()
        case "garbage" if follower.watch is not None:
            follower.feed(b"\x00<html>\n")
        case "half" if follower.watch is not None:
            text = follower.watch.pull() or b""
            follower.feed(text[:number % (len(text) + 1)])
            follower.fail(ApiError(0, "connection lost"))
        case "500" | "429" | "410" | "403" if follower.watch is not None:
            follower.feed(event("ERROR", status(int(what), "no")))


def iter_refusal(count):
    """Refuse some requests, each with another error."""
    left = iter([ApiError((0, 429, 500, 503, 410, 403, 401, 404)[index % 8], "no") for index in range(count % 12)])
    return lambda _: next(left, None)


@settings(max_examples=150, deadline=None)
@given(st.lists(OPERATIONS, max_size=40), st.sampled_from(FORMS), st.sampled_from([None, 1, 7, 100]), st.sampled_from([1, 2, 500]))
def test_any_faults_end_with_what_the_server_has(operations, forms, chunk, pages):
    """Property: any order of changes, faults and cuts, any size of parts; at rest both sides agree."""
    api = FakeApi(**forms, page_limit=pages)
    follower = Follower(api, chunk=chunk)
    for operation in operations:
        apply(operation, api, follower)
    api.refusals.clear()
    follower.settle(120)
    sound = {name: value["spec"]["ports"][0]["port"] for (_, name), value in api.objects.items()}
    assert follower.names == {name: port for name, port in sound.items() if port != "broken"}
    assert len(follower.reflector.broken) == sum(port == "broken" for port in sound.values())
    assert follower.reflector.trouble is None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_next_step_is_always_one_that_can_be_made(seed):
    """Under any answers, however mad, it neither fails nor spins: between two waits there are only a few requests."""
    dice = random.Random(seed)
    reflector, now, since = Reflector(next(resources("n1"))), 0.0, 0
    for _ in range(200):
        step = reflector.step(now, dice.random())
        if isinstance(step, Wait):
            now += step.seconds
            since = 0
            continue
        since += 1
        assert since < 8
        if isinstance(step, Open):
            reflector.opened(now)
            reflector.part(dice.choice([b"{}\n", b"x\n", event("ERROR", status(dice.choice([400, 410, 422, 500])))]), now, dice.random())
            reflector.ended(now, dice.random())
            assert not reflector.streaming
        else:
            reflector.failed(ApiError(dice.choice([0, 400, 404, 410, 422, 500]), "no"), now, dice.random())
