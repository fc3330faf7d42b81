"""pains 23 and 90: who left is known by name, and whose node is lost is not waited for."""

from msgspec import structs
from pointsman.kube.objects import Node, ObjectMeta
from pointsman.proxy.departed import ROOM, Departed
from pointsman.routing.build import Builder, RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Family, RouteKey, ServiceRoute
from pointsman.routing.snapshot import Dirty, ServiceKey, Snapshot

from .views import endpoint, endpoint_slice, service, snapshot

NODE = NodeFacts("n1")
WEB = Dirty(services=frozenset({ServiceKey("shop", "web")}))
PODS = {"n1": "10.244.1.1", "n2": "10.244.2.1"}


class Followed:
    """Somebody who left, told by changes of real routings."""

    def __init__(self, *nodes: str) -> None:
        self.departed = Departed()
        self.builder = Builder()
        self.routes: dict[RouteKey, ServiceRoute] = {}
        self.serve(*nodes)

    def serve(self, *nodes: str) -> bool:
        now = slices(*nodes)
        change = self.builder.update(now, WEB, NODE)
        left = self.departed.follow(self.routes, change)
        self.routes = dict(change.routing.routes)
        return left


def slices(*nodes: str, known: tuple[str, ...] = ()) -> Snapshot:
    found = snapshot([service("web", "10.96.0.10")], [endpoint_slice("web", *(endpoint(PODS[node], node) for node in nodes))])
    return structs.replace(found, nodes={name: Node(ObjectMeta(name)) for name in known})


def test_who_left_keeps_a_name_until_somebody_is_there_again() -> None:
    one = Followed("n1", "n2")
    assert one.departed.pod((PODS["n2"], 8080)) == ""
    assert one.serve("n1")
    assert one.departed.pod((PODS["n2"], 8080)) == f"pod-{PODS['n2']}"
    assert not one.serve("n1", "n2")
    assert one.departed.pod((PODS["n2"], 8080)) == ""


def test_pain_90_who_was_on_a_lost_node_is_buried() -> None:
    one = Followed("n1", "n2")
    one.serve("n1")
    one.departed.lose({"n1", "n2"}, slices("n1", known=("n1",)))
    assert one.departed.buried() == {PODS["n2"]}
    one.departed.lose({"n1"}, slices("n1", known=("n1", "n2")))
    assert one.departed.buried() == frozenset(), "the node is back"


def test_pain_90_whom_slices_place_on_a_lost_node_is_buried_until_the_address_serves_again() -> None:
    one = Followed("n1")
    one.departed.lose({"n1", "n2"}, slices("n1", "n2", known=("n1",)))
    assert one.departed.buried() == {PODS["n2"]}
    one.serve("n1", "n2")
    assert one.departed.buried() == frozenset()


def test_nobody_is_buried_while_no_node_is_known() -> None:
    one = Followed("n1", "n2")
    one.serve()
    one.departed.lose({"n1", "n2"}, slices())
    assert one.departed.buried() == frozenset()


def test_many_are_forgotten_but_those_that_drain() -> None:
    departed = Departed()
    places = [f"10.0.{number >> 8}.{number & 255}" for number in range(ROOM + 1)]
    backends = tuple(Backend(place, 80, local=False, hairpin=False, pod=f"pod-{number}") for number, place in enumerate(places))
    one = Followed("n1")
    [(key, route)] = one.routes.items()
    assert key.family is Family.IPV4
    many = structs.replace(route, reachable=backends)
    departed.follow({key: many}, RoutingChange(one.builder.update(slices(), WEB, NODE).routing, {key: None}))
    departed.forget_others([("10.0.0.7", 80)])
    assert departed.pod(("10.0.0.7", 80)) == "pod-7"
    assert departed.pod(("10.0.0.8", 80)) == ""
