"""Looking into the running agent: what is answered in Python's terms, and what is refused in words."""

import asyncio
import gzip
import logging
import threading

import pytest
from pointsman.proxy import logs
from pointsman.proxy.profiling import ROOT, Profiling, heap, sample, set_verbosity
from pointsman.proxy.servers import Answer, Question


async def ask(profiling: Profiling, path: str, **query: str) -> Answer:
    paths = profiling.paths()
    found = paths.get(path, paths[ROOT])(Question("GET", path, query))
    return found if isinstance(found, Answer) else await found


def burn(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(1000))


def test_a_busy_thread_is_found_where_it_is_busy() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=burn, args=(stop,))
    thread.start()
    try:
        assert thread.ident is not None
        found = sample(thread.ident, 0.5, 0.01)
    finally:
        stop.set()
        thread.join()
    assert any(frame.function == "burn" for stack in found for frame in stack)
    assert sum(nanoseconds for _, nanoseconds in found.values()) > 0


async def test_a_profile_comes_in_pprofs_format_or_as_text() -> None:
    profiling = Profiling()
    answer = await ask(profiling, f"{ROOT}profile", seconds="0.05")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert b"nanoseconds" in gzip.decompress(answer.body)
    answer = await ask(profiling, f"{ROOT}profile", seconds="0.05", debug="1")
    assert b"test_profiling" in answer.body or b"asyncio" in answer.body


@pytest.mark.parametrize("seconds", ["-1", "0", "many", "301", "nan"])
async def test_a_wrong_duration_is_refused(seconds: str) -> None:
    answer = await ask(Profiling(), f"{ROOT}profile", seconds=seconds)
    assert answer.status == 400
    assert b"seconds must be a number" in answer.body


async def test_one_profile_at_a_time() -> None:
    profiling = Profiling()
    first = asyncio.create_task(ask(profiling, f"{ROOT}profile", seconds="0.3"))
    await asyncio.sleep(0)
    assert (await ask(profiling, f"{ROOT}profile", seconds="0.3")).status == 409
    assert (await ask(profiling, f"{ROOT}allocs", seconds="0.3")).status == 409
    assert (await first).status == 200


async def test_tasks_stand_where_go_has_goroutines() -> None:
    waiting = asyncio.create_task(asyncio.Event().wait(), name="somebody who waits")
    await asyncio.sleep(0)
    assert b"somebody who waits" in (await ask(Profiling(), f"{ROOT}goroutine")).body
    waiting.cancel()


async def test_threads_and_memory_are_told() -> None:
    assert b"thread MainThread" in (await ask(Profiling(), f"{ROOT}threadcreate")).body
    assert b"resident memory: " in (await ask(Profiling(), f"{ROOT}heap")).body
    assert "builtins.dict" in heap()
    assert (await ask(Profiling(), f"{ROOT}allocs", seconds="0.01")).status == 200


@pytest.mark.parametrize("name", ["block", "mutex", "trace", "symbol"])
async def test_what_only_go_has_is_refused_in_words(name: str) -> None:
    answer = await ask(Profiling(), f"{ROOT}{name}")
    assert answer.status == 501
    assert answer.body.startswith(f"{name}: ".encode())


async def test_the_index_lists_what_there_is_and_the_unknown_is_not_found() -> None:
    assert b"goroutine" in (await ask(Profiling(), ROOT)).body
    assert (await ask(Profiling(), f"{ROOT}nothing")).status == 404


def test_the_verbosity_is_set_by_put_and_nothing_else() -> None:
    logger = logging.getLogger("pointsman")
    before, root = logger.level, logging.getLogger().level
    try:
        answer = set_verbosity(Question("PUT", "/debug/flags/v", {}, b"4"))
        assert (answer.status, answer.body) == (200, b"successfully set klog.logging.verbosity to 4")
        assert logger.level == logging.DEBUG
        assert set_verbosity(Question("PUT", "/debug/flags/v", {}, b"0")).status == 200
        assert logger.level == logging.INFO
        assert set_verbosity(Question("GET", "/debug/flags/v")).status == 406
        assert set_verbosity(Question("PUT", "/debug/flags/v", {}, b"loud")).status == 400
    finally:
        logs.set_verbosity(0)
        logger.setLevel(before)
        logging.getLogger().setLevel(root)
