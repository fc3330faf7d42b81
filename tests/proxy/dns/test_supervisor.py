"""A resolver that dies is followed by the next one; one that is to be replaced goes when the next one answers."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest
from fakes import dns as fake
from pointsman.dns.feed import Start
from pointsman.proxy.dns.sockets import Place, Sockets
from pointsman.proxy.dns.supervisor import Callbacks, Supervisor
from pointsman.proxy.dns.telling import Telling

PATIENCE = 60.0


@asynccontextmanager
async def supervised(corefile):
    sockets, answering, lost = Sockets(), [], []
    sockets.want([Place("127.0.0.1", fake.free_port(), 0)])
    start = Callbacks(lambda _: Start(sockets.of(0), str(corefile), everywhere=True, cluster=False), answering.append, lost.append)
    supervisor = Supervisor(0, Telling(), start)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, answering, lost
    finally:
        running.cancel()
        await asyncio.wait({running})
        if supervisor.resolver is not None:
            await supervisor.resolver.end()
        sockets.close()


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.01)


@pytest.fixture
def corefile(tmp_path):
    path = tmp_path / "Corefile"
    path.write_text(".:53 {\n  whoami\n}\n")
    return path


async def test_a_resolver_that_is_killed_is_followed_by_another(corefile):
    async with supervised(corefile) as (supervisor, answering, lost):
        await until(lambda: supervisor.serving)
        os.kill(supervisor.resolver.process.pid, signal.SIGKILL)
        await until(lambda: len(answering) == 2)
        assert lost == answering[:1]
        assert supervisor.restarts == 1
        assert supervisor.serving


async def test_a_renewal_ends_the_old_one_when_the_new_one_answers(corefile):
    async with supervised(corefile) as (supervisor, answering, lost):
        await until(lambda: supervisor.serving)
        supervisor.renew()
        await until(lambda: len(answering) == 2)
        assert supervisor.serving
        await supervisor.settled()
        assert answering[0].ended.done()
        assert lost == []


async def test_obs_50_a_renewal_that_cannot_work_leaves_the_old_one(corefile):
    async with supervised(corefile) as (supervisor, answering, _):
        await until(lambda: supervisor.serving)
        corefile.write_text("nonsense {\n")
        supervisor.renew()
        await until(lambda: supervisor.failure)
        assert len(answering) == 1
        assert supervisor.serving


async def test_obs_50_a_renewal_that_could_not_work_is_tried_until_it_does(corefile):
    """Nobody asks for it a second time: what is wanted has not changed."""
    async with supervised(corefile) as (supervisor, answering, lost):
        await until(lambda: supervisor.serving)
        content = corefile.read_text()
        corefile.write_text("")
        supervisor.renew()
        await until(lambda: "there is no server block" in supervisor.failure)
        corefile.write_text(content)
        await until(lambda: len(answering) == 2)
        assert supervisor.failure == ""
        await supervisor.settled()
        assert (answering[0].ended.done(), lost) == (True, [])


async def test_what_keeps_a_resolver_from_working_is_told_once(corefile, caplog):
    corefile.write_text("nonsense {\n")
    async with supervised(corefile) as (supervisor, answering, _):
        await until(lambda: supervisor.failure)
        assert answering == []
        assert caplog.text.count("does not work") == 1
        corefile.write_text(".:53 {\n  whoami\n}\n")
        await until(lambda: supervisor.serving)
        assert supervisor.failure == ""
