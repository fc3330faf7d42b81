"""`pointsman dns top`: two lists, for people and for programs."""

import json
import socket
import threading

import pytest
from click.testing import CliRunner
from pointsman.proxy.cli.dns_top import command

TOLD = {
    "top": {"steps": [{"name": "", "rows": [["web.shop.svc.cluster.local.", "12345"], ["db.shop.svc.cluster.local.", "6"]]}]},
    "storms": {"steps": [{"name": "", "rows": [["Pod shop/cart", "99"]]}]},
}


@pytest.fixture
def answering(tmp_path):
    """A socket that answers each question by what is planned for it."""
    path = str(tmp_path / "s")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(2)

    def serve(answers):
        def take():
            for _ in answers:
                peer, _ = listening.accept()
                with peer:
                    asked = json.loads(peer.makefile("rb").readline())
                    peer.sendall(json.dumps(answers[asked["what"]]).encode() + b"\n")

        threading.Thread(target=take, daemon=True).start()
        return path

    yield serve
    listening.close()


def test_two_lists_for_people(answering):
    ran = CliRunner().invoke(command, ["--socket", answering(TOLD)], standalone_mode=False)
    assert ran.return_value == 0
    lines = ran.output.splitlines()
    assert lines[0].split() == ["name", "queries"]
    assert lines[1] == "web.shop.svc.cluster.local.  12,345"
    assert "Pod shop/cart  99" in lines


def test_json_for_programs(answering):
    ran = CliRunner().invoke(command, ["-o", "json", "--socket", answering(TOLD)], standalone_mode=False)
    found = json.loads(ran.output)
    assert found["top"][0] == {"name": "web.shop.svc.cluster.local.", "count": 12345}
    assert found["storms"] == [{"client": "Pod shop/cart", "count": 99}]


def test_nothing_counted_yet(answering):
    ran = CliRunner().invoke(command, ["--socket", answering({"top": {"steps": []}, "storms": {"steps": []}})], standalone_mode=False)
    assert ran.output.count("none yet") == 2


def test_an_error_is_told(answering):
    ran = CliRunner().invoke(command, ["--socket", answering({"top": {"error": "the resolver does not answer"}})])
    assert ran.exit_code == 1
    assert "the resolver does not answer" in ran.output


def test_no_resolver_is_told(tmp_path):
    ran = CliRunner().invoke(command, ["--socket", str(tmp_path / "none")])
    assert ran.exit_code == 3
