"""healthCheckNodePort: what is answered, where, and when ports open, move and close."""

import json
import socket
from collections.abc import Iterable

import pytest
from pointsman.proxy.health_nodeport import WEIGHT_HEADER, HealthPorts, answer, places
from pointsman.routing.node import NodeFacts, NodePortAddresses
from pointsman.routing.route import Family, HealthCheck
from pointsman.routing.snapshot import ServiceKey

from .test_servers import fetch, free_port

WEB = ServiceKey("shop", "web")
LOCAL = ("127.0.0.1",)


class Ports(HealthPorts):
    """With a health that tests set, and a memory of what was refused."""

    def __init__(self) -> None:
        self.fine = True
        self.refused: list[tuple[str, str]] = []
        super().__init__(lambda: self.fine, lambda key, text: self.refused.append((str(key), text)))


def check(port: int, count: int, name: str = "web") -> Iterable[HealthCheck]:
    return (HealthCheck("shop", name, port, count),)


async def ask(port: int, host: str = "127.0.0.1") -> tuple[int, int]:
    status, text, headers = await fetch(f"http://{host}:{port}/any/path?at=all", "POST")
    assert headers[WEIGHT_HEADER] == str(json.loads(text)["localEndpoints"])
    return status, json.loads(text)["localEndpoints"]


def is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_hlt_11_the_body_is_kube_proxys_letter_by_letter() -> None:
    body = b'{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}'
    found = answer(WEB, 2, well=True)
    assert (found.status, found.body) == (200, body)
    assert found.headers == {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", WEIGHT_HEADER: "2"}


@pytest.mark.parametrize(("count", "well", "status"), [(1, True, 200), (0, True, 503), (1, False, 503), (0, False, 503)])
def test_hlt_11_pain_91_an_unhealthy_proxy_tells_the_weight_all_the_same(count: int, well: bool, status: int) -> None:
    found = answer(WEB, count, well=well)
    assert (found.status, found.headers[WEIGHT_HEADER]) == (status, str(count))


def test_hlt_10_where_it_listens() -> None:
    def node(**accepted: NodePortAddresses) -> NodeFacts:
        return NodeFacts("n1", node_ports={Family[name]: value for name, value in accepted.items()})

    some = NodePortAddresses(match_all=False, addresses=("192.168.50.1", "127.0.0.1"))
    assert places(node(), Family) == ("",)
    assert places(node(IPV4=some), Family) == ("192.168.50.1", "127.0.0.1", "::")
    assert places(node(IPV4=some), [Family.IPV4]) == ("192.168.50.1", "127.0.0.1")
    assert places(node(IPV6=NodePortAddresses(match_all=False)), Family) == ("0.0.0.0",)


async def test_hlt_10_ports_open_when_the_kernel_follows_and_close_with_it() -> None:
    ports, port, other = Ports(), free_port(), free_port()
    ports.offer(5, check(port, 2))
    await ports.update(4, LOCAL)
    assert not is_open(port)
    await ports.update(5, LOCAL)
    assert await ask(port) == (200, 2)
    ports.offer(6, check(other, 3))
    assert await ask(port) == (200, 2)
    await ports.update(6, LOCAL)
    assert not is_open(port)
    assert await ask(other) == (200, 3)
    ports.offer(7, ())
    assert await ask(other) == (503, 0)
    await ports.update(9, LOCAL)
    assert not is_open(other)
    assert ports.counts() == {"open": 0, "failed": 0}


async def test_pain_53_bad_news_is_told_before_the_kernel_follows_and_good_news_after() -> None:
    ports, port = Ports(), free_port()
    ports.offer(1, check(port, 2))
    await ports.update(1, LOCAL)
    ports.offer(2, check(port, 0))
    assert await ask(port) == (503, 0)
    ports.offer(3, check(port, 4))
    assert await ask(port) == (503, 0)
    await ports.update(2, LOCAL)
    assert await ask(port) == (503, 0)
    await ports.update(3, LOCAL)
    assert await ask(port) == (200, 4)
    await ports.close()


async def test_hlt_11_an_ill_proxy_answers_503() -> None:
    ports, port = Ports(), free_port()
    ports.offer(1, check(port, 2))
    await ports.update(1, LOCAL)
    ports.fine = False
    assert await ask(port) == (503, 2)
    await ports.close()


async def test_hlt_10_all_addresses_means_both_families() -> None:
    ports, port = Ports(), free_port()
    ports.offer(1, check(port, 1))
    await ports.update(1, ("",))
    assert await ask(port) == (200, 1)
    assert await ask(port, "[::1]") == (200, 1)
    await ports.update(1, ("0.0.0.0", "::"))
    assert await ask(port, "[::1]") == (200, 1)
    assert ports.counts()["open"] == 2
    await ports.close()


async def test_hlt_13_a_taken_port_is_told_once_and_had_when_it_is_free() -> None:
    ports = Ports()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        ports.offer(1, check(port, 1))
        await ports.update(1, LOCAL)
        await ports.update(2, LOCAL)
        assert ports.failing
        assert ports.counts() == {"open": 0, "failed": 1}
    ((service, text),) = ports.refused
    assert service == "shop/web"
    assert f"127.0.0.1 port {port}" in text
    await ports.update(3, LOCAL)
    assert not ports.failing
    assert await ask(port) == (200, 1)
    await ports.close()


async def test_a_port_that_moves_from_one_service_to_another_is_had_at_once() -> None:
    ports, port = Ports(), free_port()
    ports.offer(1, check(port, 1))
    await ports.update(1, LOCAL)
    ports.offer(2, check(port, 5, "api"))
    await ports.update(2, LOCAL)
    assert await ask(port) == (200, 5)
    assert ports.refused == []
    await ports.close()


async def test_an_offer_that_is_the_same_keeps_the_server() -> None:
    ports, port = Ports(), free_port()
    ports.offer(1, check(port, 1))
    await ports.update(1, LOCAL)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as open_connection:
        ports.offer(2, check(port, 1))
        await ports.update(2, LOCAL)
        open_connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await ask(port) == (200, 1)
    await ports.close()
