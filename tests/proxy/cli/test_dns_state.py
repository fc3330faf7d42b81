"""What is told of DNS on a node, from what the agent answers."""

import asyncio

import pytest
from pointsman.proxy.cli.dns_state import DnsState, lines, of_rows, read, trouble
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.dns import questions
from pointsman.proxy.dns.service import DnsService, Settings
from pointsman.proxy.dns.telling import Telling


def test_without_a_socket_there_is_no_dns(tmp_path):
    assert read(str(tmp_path / "agent.sock")) is None


def test_a_socket_that_nobody_answers_on_is_told(tmp_path):
    (tmp_path / "dns.sock").touch()
    with pytest.raises(UnreachableError, match="does not answer"):
        read(str(tmp_path / "agent.sock"))


async def test_an_agent_whose_resolver_does_not_run_says_so(tmp_path):
    service = DnsService(Settings(corefile=str(tmp_path / "Corefile")), Telling())
    serving = asyncio.create_task(questions.serve(str(tmp_path / "dns.sock"), service))
    try:
        async with asyncio.timeout(60):
            while not (tmp_path / "dns.sock").exists():  # noqa: ASYNC110 - the other task makes it
                await asyncio.sleep(0.01)
            found = await asyncio.to_thread(read, str(tmp_path / "agent.sock"))
    finally:
        serving.cancel()
    assert found == DnsState(serving=False, names="none")
    assert "the resolver does not answer" in trouble(found)


def test_rows_become_a_state_in_words():
    rows = (("serving", "yes"), ("listens", "10.96.0.10:53"), ("listens", "169.254.20.10:53"), ("restarts", "2"), ("names", "saved"),
            ("waiting", "3"), ("memory", str(2**20)))  # fmt: skip
    found = of_rows(rows)
    assert found == DnsState(
        serving=True, listens=("10.96.0.10:53", "169.254.20.10:53"), restarts=2, names="saved", waiting=3, resident_bytes=2**20,
    )  # fmt: skip
    (line,) = lines(found)
    assert line.startswith("DNS: answers at 10.96.0.10:53, 169.254.20.10:53; names are those that an earlier process saved, ")
    assert line.endswith("; 2 restarts; 3 Services wait for their rules; 1 MiB")
    assert trouble(found) == ""
