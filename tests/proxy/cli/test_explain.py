import asyncio
import json

import pytest
from click.testing import CliRunner
from fakes.planted import OPTIONS, invoke, prepare, program
from fakes.scratch import lock_file, namespace
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy import explaining
from pointsman.proxy.cli.explain import command


def refused(*arguments):
    return CliRunner().invoke(command, [*OPTIONS, *arguments])


def test_what_cannot_be_read_is_exit_status_2_with_what_to_write():
    for arguments, says in (
        (("--from", "pod/x", "--to", "web:80"), "write pod/NAMESPACE/NAME"), (("--to", "fd00::1"), "in brackets"), ((), "--to"),
        (("--to", "web:80", "--node", "n7"), "this is node n1, not n7"), (("--to", "a:1", "--protocol", "icmp"), "tcp"),
    ):  # fmt: skip
        result = refused(*arguments)
        assert result.exit_code == 2, result.output
        assert says in result.output


def test_without_an_agent_the_exit_status_is_3(tmp_path):
    assert CliRunner().invoke(command, ["--socket", str(tmp_path / "none"), "--to", "web:80"]).exit_code == 3


def test_a_kernel_that_cannot_be_read_is_unknown_and_not_broken(monkeypatch):
    async def unreadable(*_):
        raise KernelError(ErrorKind.DENIED, "iptables-save: Permission denied")

    monkeypatch.setattr(explaining, "explain", unreadable)
    result = refused("--to", "web.shop:80")
    assert result.exit_code == 2
    assert "unknown: the kernel cannot be read, ask as root: iptables-save" in result.output


@pytest.mark.kernel
def test_json_has_the_same_facts(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", "nft"))
        question = ("--from", "pod/shop/till-0", "--to", "web.shop:80", "--family", "IPv4")
        status, said = invoke("explain", "iptables", "nft", *question, "-o", "json")
        assert status == 0
        assert invoke("explain", "iptables", "nft", *question[:3], "web.shop:81")[0] == 1
        assert invoke("explain", "iptables", "nft", "--to", "nobody:80")[0] == 2
    found = json.loads(said)
    assert (found["status"], found["outcome"]["verdict"]) == ("works", "forward")
    assert len(found["kernel"]["ways"]) == 3
    assert found["kernel"]["ways"][0]["evidence"][0]["where"] == "nat PREROUTING rule 1"
