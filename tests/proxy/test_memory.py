import asyncio
import gc
import subprocess
import sys

import pytest
from pointsman.proxy import memory


def test_what_is_there_is_out_of_the_garbage_collectors_sight() -> None:
    gc.unfreeze()
    memory.give_back()
    try:
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("call", ["give_back", "trim"])
def test_freed_memory_goes_back_to_the_kernel(call: str) -> None:
    code = """
from pointsman.proxy import memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4
assert memory.use_one_arena()
blocks = [b"x" * 100_000 for _ in range(1000)]
pin = b"y" * 100_000
full = resident()
del blocks
memory.CALL()
assert resident() < full - 80_000, (full, resident())
"""
    subprocess.run([sys.executable, "-P", "-c", code.replace("CALL", call)], check=True, timeout=180)


def test_the_collector_looks_rarely_until_the_start_is_over() -> None:
    usual = gc.get_threshold()
    gc.unfreeze()
    try:
        memory.collect_rarely()
        assert gc.get_threshold()[0] >= 100 * usual[0]
        assert gc.get_threshold()[1:] == usual[1:]
        memory.give_back()
        assert gc.get_threshold() == usual
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


async def test_staying_low_gives_back_the_start_and_then_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    third = asyncio.Event()

    def trimmed() -> bool:
        said.append("trim")
        if said.count("trim") == 2:
            third.set()
        return True

    monkeypatch.setattr(memory, "TRIM_PERIOD", 0.0)
    monkeypatch.setattr(memory, "give_back", lambda: said.append("give back"))
    monkeypatch.setattr(memory, "trim", trimmed)
    task = asyncio.create_task(memory.stay_low())
    await asyncio.wait_for(third.wait(), 60)
    task.cancel()
    assert said[:3] == ["give back", "trim", "trim"]


def test_the_resident_memory_grows_with_what_is_kept() -> None:
    before = memory.resident()
    kept = bytearray(64 << 20)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
    assert memory.resident() - before > 32 << 20
