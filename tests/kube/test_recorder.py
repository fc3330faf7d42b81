"""Events: as the API wants them, never in the way of the work, once for the whole cluster where all nodes see the same."""

import asyncio
import json

import pytest
from fakes.virtual import run
from pointsman.kube.errors import ApiError
from pointsman.kube.objects import Kind, ObjectRef
from pointsman.kube.recorder import NOTE_LENGTH, WAITING, Event, Recorder, document

NOON = 1769860800.25
WEB = ObjectRef(Kind.SERVICE, "shop", "web")
NODE = ObjectRef(Kind.NODE, "", "n1")
STARTING = Event(NODE, "Starting", "StartKubeProxy", "", warning=False)
BROKEN = Event(WEB, "ServiceNotRouted", "Route", "spec.externalIPs[0]: refused", identity="x")


class Server:
    """Remembers what was posted, and fails as told."""

    def __init__(self, *errors: ApiError) -> None:
        self.errors = list(errors)
        self.posted = []
        self.asked = []
        self.services = {"items": [{"metadata": {"uid": "u-1", "name": "web"}}]}

    async def get(self, path, query=None):
        self.asked.append((path, query))
        return json.dumps(self.services).encode()

    async def post(self, path, body):
        if self.errors:
            raise self.errors.pop(0)
        self.posted.append((path, body))
        return b"{}"


def tell(server, *events):
    """Record events and wait until all are sent or dropped; return the counts."""

    async def main():
        recorder = Recorder(server, "n1", lambda: NOON)
        for event in events:
            recorder.record(event)
        sending = asyncio.create_task(recorder.run())
        await recorder.sent()
        sending.cancel()
        return dict(recorder.counts)

    return run(main)


def test_proc_10_an_event_about_this_node_is_kube_proxys() -> None:
    server = Server()
    assert tell(server, STARTING) == {"sent": 1}
    ((path, body),) = server.posted
    assert path == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"n1.{int(NOON * 1e9):x}", "namespace": "default"},
        "eventTime": "2026-01-31T12:00:00.250000Z",
        "reportingController": "kube-proxy",
        "reportingInstance": "kube-proxy-n1",
        "action": "StartKubeProxy",
        "reason": "Starting",
        "regarding": {"kind": "Node", "namespace": "", "name": "n1", "uid": "n1", "apiVersion": "v1"},
        "note": "",
        "type": "Normal",
    }


def test_an_event_about_a_service_carries_its_uid_so_that_describe_finds_it() -> None:
    server = Server()
    tell(server, BROKEN)
    ((path, body),) = server.posted
    assert path == "/apis/events.k8s.io/v1/namespaces/shop/events"
    assert body["regarding"]["uid"] == "u-1"
    assert server.asked == [("/api/v1/namespaces/shop/services", {"fieldSelector": "metadata.name=web"})]


def test_a_service_that_is_gone_is_not_told_of() -> None:
    server = Server()
    server.services = {"items": []}
    assert tell(server, BROKEN) == {"outdated": 1}
    assert server.posted == []


def test_what_all_nodes_see_is_one_event() -> None:
    one, other = (document(BROKEN, "u-1", node, moment) for node, moment in (("n1", NOON), ("n2", NOON + 9)))
    assert one["metadata"] == other["metadata"]
    assert tell(Server(ApiError(409, "already exists")), BROKEN) == {"known": 1}


def test_a_server_that_is_away_is_asked_again_and_then_the_event_is_dropped() -> None:
    away = ApiError(0, "cannot be reached")
    assert tell(Server(away, away), BROKEN) == {"sent": 1}
    assert tell(Server(*[away] * 5), BROKEN) == {"dropped": 1}


def test_retry_after_is_respected() -> None:
    async def main():
        server = Server(ApiError(429, "too many requests", 30.0))
        recorder = Recorder(server, "n1", lambda: NOON)
        recorder.record(STARTING)
        sending = asyncio.create_task(recorder.run())
        await asyncio.sleep(29)
        assert server.posted == []
        await asyncio.sleep(2)
        assert len(server.posted) == 1
        sending.cancel()

    run(main)


@pytest.mark.parametrize("status", [403, 404, 422])
def test_a_refusal_is_told_once_and_not_repeated(status: int, caplog: pytest.LogCaptureFixture) -> None:
    refusal = ApiError(status, "events is forbidden")
    assert tell(Server(refusal, refusal), STARTING, STARTING) == {"refused": 2}
    assert caplog.text.count("takes no events") == 1


def test_a_flood_is_bounded() -> None:
    server = Server()
    counts = tell(server, *[STARTING] * (WAITING + 7))
    assert counts == {"sent": WAITING, "dropped": 7}


def test_without_a_client_nothing_is_kept() -> None:
    recorder = Recorder(None, "n1", lambda: NOON)
    for _ in range(2 * WAITING):
        recorder.record(STARTING)
    assert not recorder.counts


def test_a_long_note_is_cut_to_what_the_api_takes() -> None:
    note = document(Event(WEB, "ServiceNotRouted", "Route", "x" * 5000), "", "n1", NOON)["note"]
    assert isinstance(note, str)
    assert len(note) == NOTE_LENGTH
    assert note.endswith(" ...")
