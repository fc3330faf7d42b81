"""`pointsman dns query`: what the resolver says, drawn for people, and exit statuses that programs can use."""

import json
import socket
import threading

import pytest
from click.testing import CliRunner
from pointsman.proxy.cli.dns_query import command

STEPS = [
    {"name": "web.shop.shop.svc.cluster.local.", "rows": [["rcode", "NXDOMAIN"]]},
    {"name": "web.shop.svc.cluster.local.", "rows": [["service", "shop/web"], ["rcode", "NOERROR"], ["answer", "10.96.0.80", "A"]]},
]


@pytest.fixture
def answering(tmp_path):
    """A socket that gives one answer; returns its path and what it was asked."""
    path, asked, servers = str(tmp_path / "s"), [], []

    def serve(answer):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(path)
        listening.listen(1)
        servers.append(listening)

        def take():
            peer, _ = listening.accept()
            with peer:
                asked.append(json.loads(peer.makefile("rb").readline()))
                peer.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        return path, asked

    yield serve
    for one in servers:
        one.close()


def test_the_steps_of_a_pod_are_drawn(answering):
    path, asked = answering({"steps": STEPS, "client": "10.244.1.7"})
    ran = CliRunner().invoke(command, ["web.shop", "a", "--from", "shop/cart", "--socket", path], standalone_mode=False)
    assert ran.return_value == 0
    assert ran.output.splitlines()[0] == STEPS[0]["name"]
    assert "  answer   10.96.0.80  A" in ran.output
    assert asked == [{"what": "explain", "name": "web.shop", "qtype": "A", "pod": "shop/cart"}]


def test_no_record_is_status_1(answering):
    path, _ = answering({"steps": STEPS[:1]})
    assert CliRunner().invoke(command, ["web.shop", "--socket", path], standalone_mode=False).return_value == 1


def test_json_is_what_was_answered(answering):
    path, _ = answering({"steps": STEPS})
    ran = CliRunner().invoke(command, ["web", "-o", "json", "--socket", path], standalone_mode=False)
    assert json.loads(ran.output)["steps"] == STEPS


def test_an_error_of_the_resolver_is_told(answering):
    path, _ = answering({"error": "Pod shop/x is not known here"})
    ran = CliRunner().invoke(command, ["web", "--socket", path])
    assert (ran.exit_code, "Pod shop/x is not known here" in ran.stderr) == (1, True)


def test_nobody_there_is_status_3(tmp_path):
    ran = CliRunner().invoke(command, ["web", "--socket", str(tmp_path / "none")])
    assert (ran.exit_code, "pointsman run --dns" in ran.stderr) == (3, True)


@pytest.mark.parametrize(("arguments", "text"), [
    (["foo", "bar"], "BAR is no type of records: write A"), (["a..b"], "a label must have 1 to 63 bytes"),
])  # fmt: skip
def test_a_wrong_type_or_name_is_a_wrong_command_line(arguments, text):
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 2
    assert text in ran.output


def test_what_is_noted_is_told(answering):
    path, _ = answering({"steps": STEPS, "note": "asked without a search path"})
    assert CliRunner().invoke(command, ["web", "--socket", path], standalone_mode=False).output.endswith("asked without a search path\n")
