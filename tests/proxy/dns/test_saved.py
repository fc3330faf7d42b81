"""The last known state on disk (REC-112)."""

import asyncio
import errno
import os

import msgspec
from fakes import objects as make
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import Kind, Namespace, ObjectMeta, ServiceImport
from pointsman.proxy.dns import saved
from pointsman.proxy.dns.telling import Telling
from pointsman.routing.snapshot import EMPTY, advance

LISTS = Batch((
    Replace(Kind.SERVICE, (make.service("web"),)), Replace(Kind.ENDPOINT_SLICE, (make.endpoint_slice(make.endpoint("10.0.0.7")),)),
    Replace(Kind.NAMESPACE, (Namespace(ObjectMeta("shop")),)),
))  # fmt: skip
SNAPSHOT, DIRTY = advance(EMPTY, LISTS)


def test_rec_112_what_was_kept_is_read_again(tmp_path):
    store = saved.Store(tmp_path / "deep" / "state")
    assert store.load() is None
    store.keep(SNAPSHOT)
    found = store.load()
    assert (found.services, found.slices, found.namespaces) == (SNAPSHOT.services, SNAPSHOT.slices, SNAPSHOT.namespaces)
    assert found.synced >= {Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.NAMESPACE}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state"]


def test_ext_01_imports_are_kept_where_they_were_read(tmp_path):
    store = saved.Store(tmp_path / "state")
    store.keep(SNAPSHOT)
    assert Kind.SERVICE_IMPORT not in store.load().synced
    labels = {"multicluster.kubernetes.io/service-name": "db", "multicluster.kubernetes.io/source-cluster": "east"}
    slices = (make.endpoint_slice(make.endpoint("10.0.0.7"), name="db-east", owner=None, labels=labels),)
    imports = (ServiceImport(ObjectMeta("db", "shop")),)
    read, _ = advance(SNAPSHOT, Batch((Replace(Kind.SERVICE_IMPORT, imports), Replace(Kind.ENDPOINT_SLICE, slices))))
    store.keep(read)
    found = store.load()
    assert (found.imports, found.import_slices) == (read.imports, read.import_slices)
    assert Kind.SERVICE_IMPORT in found.synced


def test_rec_112_a_state_of_a_version_without_imports_is_read(tmp_path):
    whole = saved.state_of(SNAPSHOT)
    (tmp_path / "state").write_bytes(msgspec.msgpack.encode(msgspec.to_builtins(whole)[:-1]))
    assert saved.Store(tmp_path / "state").load().services == SNAPSHOT.services


def test_what_cannot_be_read_or_written_is_told_once(tmp_path, caplog):
    path = tmp_path / "state"
    path.write_bytes(b"\x93nonsense")
    store = saved.Store(path)
    assert store.load() is None
    assert store.load() is None
    saved.Store(tmp_path / "state" / "below").keep(SNAPSHOT)
    first, second = [record.error for record in caplog.records]
    assert "is not understood" in first
    assert "cannot be written" in second


async def test_rec_112_it_is_written_again_when_there_is_room_and_nothing_half_is_left(tmp_path, caplog):
    """No change of the cluster is needed for that."""
    folder = tmp_path / "full"
    folder.write_text("")  # nothing can be written below a file
    store, telling = saved.Store(folder / "state", period=0.001), Telling()
    telling.advance(SNAPSHOT, DIRTY)
    running = asyncio.create_task(store.run(telling))
    async with asyncio.timeout(60):
        while not caplog.records:  # noqa: ASYNC110 - another thread tries
            await asyncio.sleep(0.01)
        folder.unlink()
        while store.load() is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
    assert [record.error for record in caplog.records] == ["cannot be written: File exists"]


def test_rec_112_a_full_disk_keeps_nothing_half(tmp_path, monkeypatch, caplog):
    """A write that breaks off leaves no rest, and the former state."""
    store = saved.Store(tmp_path / "state")
    assert store.keep(SNAPSHOT)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not store.keep(EMPTY)
    assert store.load().services == SNAPSHOT.services
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert "No space left" in caplog.records[0].error


async def test_it_is_kept_at_the_end_and_only_what_this_process_has_read(tmp_path):
    store, telling = saved.Store(tmp_path / "state", period=0.001), Telling()
    running = asyncio.create_task(store.run(telling))
    await asyncio.sleep(0.02)
    assert store.load() is None
    telling.advance(SNAPSHOT, DIRTY)
    running.cancel()
    await asyncio.wait({running})
    assert store.load() is not None
