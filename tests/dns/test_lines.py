"""Log lines."""

import asyncio
import logging
import os

import pytest
from pointsman.dns.lines import KEPT, MANY, Lines


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, Lines(writing)
    os.close(reading)
    os.close(writing)


async def test_lines_are_written_together(pipe):
    reading, lines = pipe
    lines.tell("info", "one")
    lines.tell("error", "two")
    assert await asyncio.get_running_loop().run_in_executor(None, os.read, reading, 1000) == b"[INFO] one\n[ERROR] two\n"


async def test_many_lines_do_not_wait(pipe):
    reading, lines = pipe
    for _ in range(MANY):
        lines.tell("info", "x")
    assert os.read(reading, 100_000) == b"[INFO] x\n" * MANY


def test_without_a_loop_nothing_waits(pipe):
    reading, lines = pipe
    lines.tell("warning", "at once")
    assert os.read(reading, 100) == b"[WARNING] at once\n"


def test_records_bring_their_facts_and_their_errors(pipe):
    reading, lines = pipe
    logger = logging.Logger("t")
    logger.addHandler(lines)
    logger.warning("seen %d", 3, extra={"path": "/x"})
    assert os.read(reading, 1000) == b"[WARNING] seen 3 (path=/x)\n"
    try:
        int("why")
    except ValueError:
        logger.exception("it broke")
    said = os.read(reading, 10_000).decode()
    assert said.startswith("[ERROR] it broke\nTraceback")
    assert "ValueError: invalid literal" in said
    logger.critical("the end")
    assert os.read(reading, 100) == b"[ERROR] the end\n"


def test_who_does_not_listen_stops_nobody():
    reading, writing = os.pipe()
    os.close(reading)
    Lines(writing).tell("info", "lost")
    os.close(writing)


async def test_who_does_not_read_keeps_nobody_waiting_and_is_told_what_he_missed(pipe):
    reading, lines = pipe
    text = "x" * 1000
    sent = 0
    while not lines._lost:  # the pipe and then the memory for it are full
        lines.tell("info", text)
        sent += 1
        assert sent < 10_000
    for _ in range(MANY):
        lines.tell("info", text)
    sent += MANY
    said = b""
    async with asyncio.timeout(60):
        while b"are lost here" not in said:
            said += await asyncio.to_thread(os.read, reading, 65536)
            lines.flush()
    got = said.count(b"[INFO] " + text.encode() + b"\n")
    told = int(said.partition(b"[WARNING] ")[2].split()[0])
    assert got + told == sent
    assert KEPT // 1007 <= got < sent
