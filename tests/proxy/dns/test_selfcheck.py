"""The check of one's own health (OBS-19), against servers that answer well, badly, late and not at all."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from fakes.dns import free_port
from pointsman.dns.tally import Sample
from pointsman.proxy.dns.selfcheck import BOUNDS, DURATION, FAILURES, SelfCheck

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


@asynccontextmanager
async def answering(said):
    """Listen, and say the same to everybody; nothing where that is None, without hanging up."""
    heard = []
    over = asyncio.Event()

    async def take(reader, writer):
        with suppress(asyncio.IncompleteReadError):  # who has lost patience hangs up
            heard.append(await reader.readuntil(b"\r\n\r\n"))
        if said is None:
            await over.wait()
        else:
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        over.set()
        server.close()


def counted(check):
    found = {sample.metric: sample for sample in check.samples()}
    return sum(found.get(DURATION, Sample("", (), (0.0,))).values[:-1]), found[FAILURES].values[0]


async def test_obs_19_an_answer_is_counted_with_its_time():
    check = SelfCheck(patience=60.0)
    async with answering(OK) as (port, heard):
        await check.check(f"127.0.0.1:{port}")
    assert counted(check) == (1, 0)
    assert heard[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert tuple(0.00025 * 10**step for step in range(5)) == BOUNDS


@pytest.mark.parametrize("said", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"\r\n", b""])
async def test_obs_19_what_is_no_200_is_a_failure(said):
    check = SelfCheck(patience=60.0)
    async with answering(said) as (port, _):
        await check.check(f"127.0.0.1:{port}")
    assert counted(check) == (0, 1)


async def test_obs_19_who_says_nothing_or_does_not_listen_is_a_failure():
    check = SelfCheck(patience=0.01)
    async with answering(None) as (port, _):
        await check.check(f"127.0.0.1:{port}")
    await check.check(f"127.0.0.1:{free_port()}")
    assert counted(check) == (0, 2)


async def test_everywhere_is_asked_on_loopback():
    check = SelfCheck(patience=60.0)
    async with answering(OK) as (port, _):
        await check.check(f"0.0.0.0:{port}")
        await check.check(f"[::]:{port}")
    assert counted(check) == (2, 0)


async def test_it_is_asked_again_and_again_at_what_is_wanted_then():
    check = SelfCheck(period=0.01, patience=60.0)
    async with answering(OK) as (port, heard):
        running = asyncio.create_task(check.run(lambda: [f"127.0.0.1:{port}"]))
        async with asyncio.timeout(60):
            while len(heard) < 3:  # noqa: ASYNC110 - the server counts
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
