"""Signs of life in the kernel's lists."""

import asyncio
import os
from types import SimpleNamespace

from pointsman.dns import heartbeat
from pointsman.dns.heartbeat import Heartbeat, Peers


class Files:
    """Files in the place of the kernel's lists: each write is a line."""

    def __init__(self, folder):
        self.one, self.other = folder / "one", folder / "other"

    def watch(self, monkeypatch):
        said = []
        monkeypatch.setattr(heartbeat, "write", lambda path, addresses, sign: said.append((path, sign, *addresses)) or "")
        return said


async def test_nld_42_addresses_are_named_again_and_again_and_taken_back(tmp_path, monkeypatch):
    said = Files(tmp_path).watch(monkeypatch)
    monkeypatch.setattr(heartbeat, "PERIOD", 0.001)
    heart = Heartbeat({"four": ["10.96.0.10", "169.254.20.10"], "six": ["fd53::20:10"]})
    heart.start()
    async with asyncio.timeout(60):
        while len(said) < 6:  # noqa: ASYNC110 - the loop's own timer
            await asyncio.sleep(0.001)
    heart.stop()
    assert said[:2] == [("four", "+", "10.96.0.10", "169.254.20.10"), ("six", "+", "fd53::20:10")]
    assert said[-2:] == [("four", "-", "10.96.0.10", "169.254.20.10"), ("six", "-", "fd53::20:10")]
    count = len(said)
    await asyncio.sleep(0.02)
    assert len(said) == count


async def test_a_successor_keeps_what_it_names_itself(tmp_path, monkeypatch):
    said = Files(tmp_path).watch(monkeypatch)
    heart = Heartbeat({"four": ["10.96.0.10"]})
    heart.start()
    heart.stop(keep=True)
    assert said == [("four", "+", "10.96.0.10")]


async def test_a_list_that_is_not_there_is_no_failure(tmp_path):
    heart = Heartbeat({str(tmp_path / "nothing"): ["10.96.0.10"]})
    heart.start()
    heart.stop()
    assert heartbeat.write(str(tmp_path / "nothing"), ["10.96.0.10"], "+") == "No such file or directory"


def test_each_address_is_a_write_of_its_own(tmp_path):
    path = tmp_path / "list"
    path.touch()
    assert heartbeat.write(str(path), ["10.96.0.10"], "+") == ""
    assert path.read_text() == "+10.96.0.10\n"


async def test_nld_42_of_several_workers_nobody_names_anything_unless_all_beat(tmp_path, monkeypatch):
    """The share of a worker that is gone waits at its socket: only the Service rules can lead it to somebody."""
    now = [1000.0]
    said = Files(tmp_path).watch(monkeypatch)
    monkeypatch.setattr(heartbeat, "PERIOD", 0.001)
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: now[0]))
    shared = os.memfd_create("test")
    os.ftruncate(shared, 2 * heartbeat.SIZE)
    one, two = (Heartbeat({name: ["10.96.0.10"]}, Peers(shared, worker)) for worker, name in enumerate(("one", "two")))
    os.close(shared)

    async def until(wanted):
        async with asyncio.timeout(60):
            while wanted not in said:  # noqa: ASYNC110 - the loop's own timer
                await asyncio.sleep(0.001)

    one.start()
    await asyncio.sleep(0.01)
    assert said == []
    two.start()
    await until(("one", "+", "10.96.0.10"))
    two.stop(keep=True)  # it is killed: nothing is said
    now[0] += heartbeat.LATE
    await until(("one", "-", "10.96.0.10"))
    assert said.count(("one", "-", "10.96.0.10")) == 1
    said.clear()
    two.start()
    await until(("one", "+", "10.96.0.10"))
    two.stop()  # it ends as told: the others see it at once
    await until(("one", "-", "10.96.0.10"))
    one.stop()
