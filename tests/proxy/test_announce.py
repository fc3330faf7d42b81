"""Events about broken Services: one each, of everything together, again when it changes, and not too many."""

import asyncio

from fakes.virtual import run
from pointsman.kube.events import Problem
from pointsman.kube.objects import Kind, ObjectRef
from pointsman.proxy.announce import AGAIN, MOST, PACE, Announcer, broken, starting, unchecked, unserved
from pointsman.routing.route import Notice, Protocol, ServicePortName, Severity
from pointsman.routing.snapshot import ServiceKey

WEB = ObjectRef(Kind.SERVICE, "shop", "web")
REFUSED = Notice("Service shop/web", "spec.externalIPs[0]", "192.0.2.1 is a node's address")
ALSO = Notice("Service shop/web", "spec.ports[0].nodePort", "30080 belongs to Service shop/api")
SUSPICIOUS = Notice("Service shop/api", "spec.clusterIP", "shared", Severity.SUSPICIOUS)
UNREADABLE = Problem("", "Service shop/cart", "spec.ports[0].port", "Expected `int`, got `str`")


class Recorder:
    """Remembers."""

    def __init__(self):
        self.events = []

    def record(self, event):
        self.events.append(event)


def play(story):
    """Run a story with an announcer on virtual time; return what was told."""

    async def main():
        recorder = Recorder()
        announcer = Announcer(recorder, asyncio.get_running_loop().time, lambda: 0.5)
        running = asyncio.create_task(announcer.run())
        await story(announcer, recorder)
        running.cancel()
        return recorder.events

    return run(main)


def test_all_that_is_wrong_with_a_service_is_one_text_whatever_the_order() -> None:
    text = "spec.externalIPs[0]: 192.0.2.1 is a node's address; spec.ports[0].nodePort: 30080 belongs to Service shop/api"
    assert broken((ALSO, REFUSED, SUSPICIOUS, REFUSED), ()) == {WEB: text}
    found = broken((REFUSED,), (UNREADABLE, Problem("a.yaml:3", "", "", "no YAML"), Problem("", "Node n1", "x", "y")))
    assert found == {
        WEB: "spec.externalIPs[0]: 192.0.2.1 is a node's address",
        ObjectRef(Kind.SERVICE, "shop", "cart"): "spec.ports[0].port: Expected `int`, got `str`",
    }


def test_proc_10_a_broken_service_is_told_once_and_again_when_it_is_broken_otherwise() -> None:
    async def story(announcer, recorder):
        announcer.judge((REFUSED,), ())
        await asyncio.sleep(5 * PACE)
        announcer.judge((REFUSED, SUSPICIOUS), ())
        await asyncio.sleep(5 * PACE)
        assert len(recorder.events) == 1
        announcer.judge((REFUSED, ALSO), ())
        await asyncio.sleep(5 * PACE)

    one, other = play(story)
    assert one.regarding == other.regarding == WEB
    assert (one.reason, one.action, one.warning) == ("ServiceNotRouted", "Route", True)
    assert one.identity != other.identity


def test_what_comes_together_is_one_event() -> None:
    async def story(announcer, recorder):
        for number in range(100):
            announcer.judge((REFUSED, Notice("Service shop/web", "x", str(number))), ())
            await asyncio.sleep(PACE / 200)
        await asyncio.sleep(5 * PACE)

    assert len(play(story)) <= 2


def test_a_service_that_stays_broken_is_told_again_before_the_api_forgets() -> None:
    async def story(announcer, recorder):
        announcer.judge((REFUSED,), ())
        await asyncio.sleep(AGAIN + 5 * PACE)

    assert [event.identity for event in play(story)] == ["spec.externalIPs[0]: 192.0.2.1 is a node's address"] * 2


def test_a_service_that_was_mended_is_told_of_when_it_breaks_again() -> None:
    async def story(announcer, recorder):
        for notices in ((REFUSED,), (), (REFUSED,)):
            announcer.judge(notices, ())
            await asyncio.sleep(5 * PACE)

    assert len(play(story)) == 2


def test_what_the_kernel_does_not_take_is_part_of_the_same_event() -> None:
    port_name = ServicePortName("shop", "web", "http", Protocol.TCP)

    async def story(announcer, recorder):
        announcer.judge((REFUSED,), ())
        announcer.unprogrammed({port_name: "the kernel does not take nat KUBE-SVC-1: no such match"})
        await asyncio.sleep(5 * PACE)
        announcer.unprogrammed({port_name: "the kernel does not take nat KUBE-SVC-1: no such match"})
        await asyncio.sleep(5 * PACE)
        announcer.unprogrammed({})
        await asyncio.sleep(5 * PACE)

    one, other = play(story)
    assert one.note.startswith("port http: the kernel does not take nat KUBE-SVC-1: no such match; spec.externalIPs[0]:")
    assert other.note == "spec.externalIPs[0]: 192.0.2.1 is a node's address"


def test_a_flood_of_broken_services_is_bounded() -> None:
    async def story(announcer, recorder):
        announcer.judge(tuple(Notice(f"Service shop/s{number}", "x", "y") for number in range(10 * MOST)), ())
        await asyncio.sleep(5 * PACE)

    assert len(play(story)) == MOST


def test_proc_10_the_other_events() -> None:
    event = starting("n1", "pointsman")
    assert (str(event.regarding), event.reason, event.action, event.warning) == ("Node n1", "Starting", "StartKubeProxy", False)
    event = unserved("n1", "FailedToStartMetricServer", "taken")
    assert (str(event.regarding), event.reason, event.action) == ("Node n1", "FailedToStartMetricServer", "StartKubeProxy")
    assert event.warning
    event = unchecked("n1", ServiceKey("shop", "web"), "taken")
    assert (event.regarding, event.reason, event.action) == (WEB, "FailedToStartServiceHealthcheck", "Listen")
    assert event.note == "node n1: taken"
