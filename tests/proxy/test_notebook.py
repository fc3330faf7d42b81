"""The file that tells the next agent which frontends there were."""

import asyncio
import logging
import stat

import pytest
from fakes.flows import route
from pointsman.conntrack.tombstones import EMPTY, Tombstones
from pointsman.proxy import notebook
from pointsman.proxy.notebook import Notes, beside, read, write


def stones():
    found, one = Tombstones(), route()
    found.follow({}, {one.key: one}, 1.0)
    return found


def test_it_stands_beside_the_socket(tmp_path):
    assert beside("/run/pointsman/pointsman.sock").as_posix() == "/run/pointsman/pointsman.flows.json"


def test_what_is_written_is_read_by_the_same_node_only(tmp_path):
    path = tmp_path / "new" / "n1.flows.json"
    write(path, stones().notebook("n1"))
    assert read(path, "n1") == read(path) == stones().notebook("n1")
    assert read(path, "n2") == EMPTY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_nothing_there_is_nothing_noted(tmp_path, caplog):
    assert read(tmp_path / "none.json") == EMPTY
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"node": 5}', b'{"node":"n1","frontends":[{"family":"IPv5"}]}', b"\xff\xfe"])
def test_what_cannot_be_read_is_told_and_counts_as_nothing(content, tmp_path, caplog):
    path = tmp_path / "n1.flows.json"
    path.write_bytes(content)
    assert read(path, "n1") == EMPTY
    assert "cannot be read" in caplog.text


async def test_changes_are_written_once_they_are_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "PAUSE", 0.0)
    path, found = tmp_path / "n1.flows.json", Tombstones()
    notes = Notes(path, "n1")
    task = asyncio.create_task(notes.run(found))
    await asyncio.sleep(0)
    one = route()
    found.follow({}, {one.key: one}, 1.0)
    notes.touch()
    async with asyncio.timeout(60):
        while read(path) != found.notebook("n1"):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert Notes(path, "n1").inherited == found.notebook("n1")


async def test_what_changed_before_it_runs_is_written_too(tmp_path):
    notes = Notes(tmp_path / "n1.flows.json", "n1")
    notes.touch()
    task = asyncio.create_task(notes.run(stones()))
    async with asyncio.timeout(60):
        while not (tmp_path / "n1.flows.json").exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})


async def test_a_place_that_cannot_be_written_is_told_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(notebook, "PAUSE", 0.0)
    caplog.set_level(logging.WARNING)
    (tmp_path / "file").write_text("")
    notes, found, one = Notes(tmp_path / "file" / "n1.flows.json", "n1"), Tombstones(), route()
    task = asyncio.create_task(notes.run(found))
    async with asyncio.timeout(60):
        for turn in range(3):
            await asyncio.sleep(0)
            found.follow({} if turn % 2 == 0 else {one.key: one}, {one.key: one if turn % 2 == 0 else None}, float(turn))
            notes.touch()
            await asyncio.sleep(0.05)
        while "cannot be noted" not in caplog.text:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert caplog.text.count("cannot be noted") == 1


async def test_a_writing_that_failed_is_tried_again_although_nothing_changes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(notebook, "PAUSE", 0.0)
    monkeypatch.setattr(notebook, "AGAIN", 0.01)
    folder = tmp_path / "late"
    folder.write_text("")
    notes = Notes(folder / "n1.flows.json", "n1")
    task = asyncio.create_task(notes.run(stones()))
    notes.touch()
    async with asyncio.timeout(60):
        while "cannot be noted" not in caplog.text:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        folder.unlink()
        while not (folder / "n1.flows.json").exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert read(folder / "n1.flows.json", "n1") == stones().notebook("n1")
