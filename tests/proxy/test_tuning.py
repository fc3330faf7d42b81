"""Limits of connection tracking that others change."""

import asyncio
import logging

from pointsman.proxy import privileges, tuning
from pointsman.proxy.config import Config

UDP = "net/netfilter/nf_conntrack_udp_timeout"


async def held(monkeypatch, moves, errors=()):
    """Let it look at one state after the other; return how often it wrote."""
    writes = []
    looks = iter(moves)
    done = asyncio.Event()

    def look():
        try:
            return next(looks)
        except StopIteration:
            done.set()
            return {}

    monkeypatch.setattr(privileges, "tune", lambda _: writes.append(1) or errors)
    task = asyncio.create_task(tuning.hold(Config(), period=0.0, drifted=look))
    async with asyncio.timeout(60):
        await done.wait()
    task.cancel()
    await asyncio.wait({task})
    return len(writes)


async def test_what_others_change_is_told_and_taken_back(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    assert await held(monkeypatch, [{}, {UDP: (10, 30)}, {}, {}, {}]) == 1
    [record] = caplog.records
    assert record.settings == "net.netfilter.nf_conntrack_udp_timeout is 10, wanted 30"


async def test_what_could_not_be_set_at_the_start_is_no_news(monkeypatch, caplog):
    stuck = {UDP: (10, 30)}
    assert await held(monkeypatch, [stuck] * 6) == 0
    assert caplog.records == []


async def test_what_stays_changed_is_told_once_and_again_when_it_changes(monkeypatch, caplog):
    stuck, other = {UDP: (10, 30)}, {UDP: (11, 30)}
    assert await held(monkeypatch, [{}, stuck, stuck, stuck, stuck, other, other, other, other]) == 2
    assert len(caplog.records) == 2


def test_every_minute_is_often_enough():
    assert tuning.PERIOD == 60.0
