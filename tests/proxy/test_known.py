import contextlib
import socket
import threading

import pytest
from msgspec import structs
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.config import Config
from pointsman.proxy.demo import manifests
from pointsman.proxy.facts import Host
from pointsman.proxy.known import UnreadError, from_agent, from_snapshot, from_source
from pointsman.proxy.picture import document
from pointsman.routing.route import Family

from .views import small

HOST = Host("n1", {Family.IPV4: ("192.168.50.1",), Family.IPV6: ()})
CONFIG = Config(manifests=str(manifests.SHOP), hostname_override="n1", cluster_cidr=("10.244.0.0/16",))


@contextlib.contextmanager
def agent(path, body):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def answer():
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        yield
    finally:
        answering.join(60)
        listening.close()


def test_what_a_folder_has_and_nobody_understands_is_known_too(tmp_path):
    (tmp_path / "node.yaml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n")
    (tmp_path / "bad.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: 7}\n")
    [problem] = from_source(structs.replace(CONFIG, manifests=str(tmp_path)), host=HOST).picture.problems
    assert "bad.yaml" in problem.where


def test_a_folder_is_read_once_with_this_machines_addresses():
    known = from_source(CONFIG, host=HOST)
    assert not known.live
    assert known.picture.node.name == "n1"
    assert {route.port_name.name for route in known.picture.routes} >= {"web", "statsd"}
    [four, _six] = sorted(known.ports("shop", "web"), key=lambda port: port.family)
    assert (four.port_name, len(four.backends)) == ("http", 3)
    assert known.ports("shop", "nobody") == ()


def test_a_folder_that_is_not_there_is_told():
    with pytest.raises(UnreadError, match="no such folder"):
        from_source(Config(manifests="/nowhere/at/all"), host=HOST)


def test_a_snapshot_gives_what_an_agent_would_want():
    known = from_snapshot(CONFIG, small().snapshot, HOST)
    assert known.picture.routing().routes.keys() == small().routing.routes.keys()


def test_an_agent_is_asked_over_its_socket(tmp_path):
    with agent(tmp_path / "s", b"".join(document(small()))):
        known = from_agent(str(tmp_path / "s"))
    assert known.live
    assert known.picture.routing().routes == small().routing.routes


def test_an_agent_of_another_version_is_told(tmp_path):
    with agent(tmp_path / "s", b"{}"), pytest.raises(UnreachableError, match="version"):
        from_agent(str(tmp_path / "s"))
