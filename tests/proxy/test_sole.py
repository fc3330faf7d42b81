import asyncio
import os
import socket

import pytest
from pointsman.proxy import sole
from pointsman.proxy.sole import OccupiedError, reserved

NAME = f"\0pointsman/test/{os.getpid()}"


async def test_a_second_agent_is_told_which_one_there_is() -> None:
    async with reserved(name=NAME):
        with pytest.raises(OccupiedError, match=rf"another pointsman \(process {os.getpid()}\) programs this network namespace"):
            async with reserved(name=NAME, patience=0.0):
                pass
    async with reserved(name=NAME, patience=0.0):
        pass


async def test_the_holder_is_named_however_often_it_is_asked_for() -> None:
    async with reserved(name=NAME):
        for _ in range(300):
            assert sole._holder(NAME) == f" (process {os.getpid()})"
            await asyncio.sleep(0)


async def test_an_agent_that_ends_soon_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=sole.__name__)
    async with reserved(name=NAME):
        second = asyncio.create_task(_hold())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "waiting for another pointsman" in caplog.text
        assert not second.done()
    await asyncio.wait_for(second, 60)
    assert caplog.text.count("waiting for another pointsman") == 1


async def _hold() -> None:
    async with reserved(name=NAME, patience=60.0):
        pass


async def test_a_holder_that_does_not_listen_yet_is_a_holder() -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(NAME)
        with pytest.raises(OccupiedError, match="another pointsman programs"):
            async with reserved(name=NAME, patience=0.0):
                pass


async def test_any_other_failure_is_not_hidden() -> None:
    with pytest.raises(OSError, match="too long"):
        async with reserved(name="\0" + "x" * 200):
            pass
