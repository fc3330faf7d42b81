"""The watched folder, with real files and real inotify."""

import asyncio
import errno
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop
from pointsman.kube import manifests
from pointsman.kube.events import Batch, Problem, Replace
from pointsman.kube.manifests import ManifestSource
from pointsman.kube.objects import Kind
from pointsman.routing.snapshot import EMPTY, ServiceKey, Snapshot, advance

PATIENCE = 60.0  # seconds until a test gives up; everything happens within milliseconds


def manifest(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


def descriptors() -> Counter[str]:
    """Return how many descriptors of each kind this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return Counter(str(link.readlink()).split(":")[0] for link in links)


def queue_limit() -> int:
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


def move_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def make_again(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.yaml").write_text(manifest("a", 85))


class Watched:
    """A running source and what it said so far."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.snapshot: Snapshot = EMPTY
        self.problems: tuple[Problem, ...] = ()
        self._news = asyncio.Event()

    def sink(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.snapshot, _ = advance(self.snapshot, batch)
        if batch.problems is not None:
            self.problems = batch.problems
        self._news.set()

    def ports(self) -> dict[str, int]:
        return {key.name: service.spec.ports[0].port for key, service in self.snapshot.services.items() if service.spec.ports}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def until_ports(self, wanted: dict[str, int]) -> None:
        await self.until(lambda: self.ports() == wanted)

    async def until_problem(self, text: str) -> None:
        await self.until(lambda: any(text in str(problem) for problem in self.problems))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "shop"
    path.mkdir()
    (path / "a.yaml").write_text(manifest("a") + "---\n" + manifest("b"))
    return path


async def follow(path: Path, rescan: float = 3600.0) -> AsyncIterator[Watched]:
    watched = Watched()
    task = asyncio.create_task(ManifestSource(path, rescan=rescan).run(watched.sink))
    try:
        await watched.until(lambda: bool(watched.batches))
        yield watched
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
async def watched(folder: Path) -> AsyncIterator[Watched]:
    async for each in follow(folder):
        yield each


async def test_in_07_the_first_batch_puts_every_kind_in_sync(watched: Watched) -> None:
    assert {event.kind for event in watched.batches[0].events if isinstance(event, Replace)} == set(Kind)
    assert watched.snapshot.in_sync
    assert watched.ports() == {"a": 80, "b": 80}


async def test_changed_and_new_files_are_read(folder: Path, watched: Watched) -> None:
    (folder / "a.yaml").write_text(manifest("a", 81))
    (folder / "c.json").write_text('{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}, "spec": {"ports": [{"port": 82}]}}')
    await watched.until_ports({"a": 81, "c": 82})


async def test_a_file_that_goes_takes_its_objects_along(folder: Path, watched: Watched) -> None:
    (folder / "a.yaml").unlink()
    await watched.until_ports({})


async def test_a_renamed_file_is_read_under_its_new_name(folder: Path, watched: Watched) -> None:
    (folder / "a.yaml.tmp").write_text(manifest("a", 90))
    (folder / "a.yaml.tmp").rename(folder / "a.yaml")
    await watched.until_ports({"a": 90})
    (folder / "a.yaml").rename(folder / "a.txt")
    await watched.until_ports({})


async def test_hidden_and_foreign_files_are_ignored(folder: Path, watched: Watched) -> None:
    for name in (".a.yaml.swp", ".hidden.yaml", "a.yaml~", "notes.txt", "4913"):
        (folder / name).write_text(manifest("x"))
    (folder / "sub.yaml").mkdir()
    (folder / "z.yml").write_text(manifest("z"))
    await watched.until_ports({"a": 80, "b": 80, "z": 80})
    assert not watched.problems


async def test_a_broken_file_keeps_its_objects_until_it_is_mended(folder: Path, watched: Watched) -> None:
    (folder / "a.yaml").write_text(manifest("a", 81) + "---\nmetadata: {na")
    await watched.until_problem(f"{folder}/a.yaml:9: not YAML")
    assert watched.ports() == {"a": 81, "b": 80}
    (folder / "a.yaml").write_text(manifest("a", 82))
    await watched.until_ports({"a": 82})
    assert watched.problems == ()


async def test_a_truncated_file_takes_nothing_down(folder: Path) -> None:
    """Its writer keeps it open: only the comparison of all files finds it."""
    async for watched in follow(folder, rescan=0.05):
        with (folder / "a.yaml").open("w") as file:
            await watched.until_problem("half written")
            assert watched.ports() == {"a": 80, "b": 80}
            file.write(manifest("b", 83))
        await watched.until_ports({"b": 83})
        assert watched.problems == ()


async def test_a_file_is_read_when_its_writer_closes_it(folder: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_CLOSE_SECONDS", 3600.0)
    with (folder / "a.yaml").open("w") as old, (folder / "n.yaml").open("w") as new:
        for file, name in ((old, "a"), (new, "n")):
            file.write(manifest(name, 81) + "---\n")
            file.flush()
        os.fchmod(new.fileno(), 0o600)
        (folder / "z.yaml").write_text(manifest("z"))
        await watched.until_ports({"a": 80, "b": 80, "z": 80})
        for file, name in ((old, "b"), (new, "o")):
            file.write(manifest(name, 81))
    await watched.until_ports({"a": 81, "b": 81, "n": 81, "o": 81, "z": 80})
    assert not any(batch.problems for batch in watched.batches)


async def test_a_new_file_that_nobody_closes_is_read_all_the_same(folder: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_CLOSE_SECONDS", 0.02)
    with (folder / "n.yaml").open("w") as file:
        file.write(manifest("n"))
        file.flush()
        await watched.until_ports({"a": 80, "b": 80, "n": 80})


async def test_a_new_link_needs_no_writer(folder: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_CLOSE_SECONDS", 3600.0)
    for name in ("soft", "hard"):
        (folder.parent / name).write_text(manifest(name))
    (folder / "soft.yaml").symlink_to(folder.parent / "soft")
    (folder / "hard.yaml").hardlink_to(folder.parent / "hard")
    await watched.until_ports({"a": 80, "b": 80, "soft": 80, "hard": 80})


async def test_what_cannot_be_read_is_a_problem(folder: Path, watched: Watched) -> None:
    (folder / "bytes.yaml").write_bytes(b"a: 1\nb: \xff\xfe")
    await watched.until_problem("bytes.yaml:2: not UTF-8")
    (folder / "link.yaml").symlink_to(folder / "nowhere")
    await watched.until_problem("link.yaml: cannot be read: No such file")
    os.mkfifo(folder / "pipe.yaml")
    await watched.until_problem("pipe.yaml: is not a regular file")
    for name in ("bytes.yaml", "link.yaml", "pipe.yaml"):
        (folder / name).unlink()
    await watched.until(lambda: not watched.problems)
    assert watched.ports() == {"a": 80, "b": 80}


async def test_a_file_too_large_is_a_problem(folder: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointsman.kube.manifests.MAX_BYTES", 10)
    (folder / "a.yaml").write_text(manifest("a", 81))
    await watched.until_problem("a.yaml: is larger than")
    assert watched.ports() == {"a": 80, "b": 80}


async def test_the_same_object_in_two_files(folder: Path, watched: Watched) -> None:
    (folder / "0.yaml").write_text(manifest("a", 90))
    await watched.until_ports({"a": 90, "b": 80})
    assert [str(problem) for problem in watched.problems] == [
        f"{folder}/a.yaml:1: Service default/a: stands in {folder}/0.yaml:1 too, which is used: it is first by name"
    ]
    (folder / "0.yaml").unlink()
    await watched.until_ports({"a": 80, "b": 80})


async def test_a_config_map_volume_is_followed_through_its_swap_as_one_change(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    for version, port in (("..1", 80), ("..2", 81)):
        (volume / version).mkdir(parents=True)
        for name in ("web", "cart"):
            (volume / version / f"{name}.yaml").write_text(manifest(name, port))
    (volume / "..data").symlink_to("..1")
    for name in ("web", "cart"):
        (volume / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    async for watched in follow(volume):
        assert watched.ports() == {"web": 80, "cart": 80}
        (volume / "..data_tmp").symlink_to("..2")
        (volume / "..data_tmp").rename(volume / "..data")
        await watched.until_ports({"web": 81, "cart": 81})
        assert watched.snapshot.revision == 2


async def test_a_vanished_folder_keeps_everything_and_is_found_again(folder: Path, watched: Watched) -> None:
    move_away(folder)
    await watched.until_problem(f"{folder}: cannot be read: No such file or directory; the last good state stays")
    assert watched.ports() == {"a": 80, "b": 80}
    make_again(folder)
    await watched.until_ports({"a": 85})
    await watched.until(lambda: not watched.problems)
    (folder / "a.yaml").write_text(manifest("a", 86))
    await watched.until_ports({"a": 86})


async def test_a_change_that_nobody_reported_is_found_by_comparison(tmp_path: Path, folder: Path) -> None:
    """The target of a link lies in a folder that is not watched."""
    target = tmp_path / "target"
    target.write_text(manifest("t", 80))
    (folder / "t.yaml").symlink_to(target)
    async for watched in follow(folder, rescan=0.05):
        target.write_text(manifest("t", 8081))
        await watched.until_ports({"a": 80, "b": 80, "t": 8081})


async def test_events_that_the_kernel_dropped_are_made_good_by_comparison(folder: Path, watched: Watched) -> None:
    noise = (folder / ".x", folder / ".y")
    for path in noise:
        path.touch()
    for turn in range(queue_limit() + 2):  # the event loop stands still meanwhile
        os.utime(noise[turn % 2])
    (folder / "a.yaml").write_text(manifest("a", 81))
    await watched.until_ports({"a": 81})


async def test_much_at_once_is_heard_to_the_end(folder: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_AT_ONCE", 1)
    names = [f"n{number}" for number in range(20)]
    for name in names:  # the event loop stands still meanwhile
        (folder / f"{name}.yaml").write_text(manifest(name))
    await watched.until_ports(dict.fromkeys(("a", "b", *names), 80))


@pytest.mark.parametrize(("step", "number"), [("__init__", errno.EMFILE), ("add_watch", errno.ENOSPC)])
async def test_exhausted_inotify_is_an_error_that_names_the_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(manifests.Inotify, step, exhausted)
    with pytest.raises(OSError, match=r"manifest folder: .*fs\.inotify\.max_user_instances or max_user_watches exhausted.*shop") as caught:
        await ManifestSource(folder).run(lambda _: None)
    assert caught.value.errno == number


async def test_nothing_runs_while_nothing_changes(watched: Watched) -> None:
    async def switches() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        await asyncio.sleep(0.5)
        return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before

    async with asyncio.timeout(PATIENCE):
        while await switches() >= 10:  # what the start left to do
            pass


def test_the_event_loop_of_the_agent_hears_of_changes_and_of_nothing_afterwards(folder: Path) -> None:
    async def follow_changes() -> None:
        async for watched in follow(folder):
            for port in range(8000, 8020):
                (folder / "a.tmp").write_text(manifest("a", port))
                (folder / "a.tmp").rename(folder / "a.yaml")
                await watched.until_ports({"a": port})
            move_away(folder)
            await watched.until_problem("cannot be read")
            make_again(folder)
            await watched.until_ports({"a": 85})

    uvloop.run(asyncio.sleep(0))  # what uvloop keeps open for good
    before = descriptors()
    uvloop.run(follow_changes())
    assert descriptors() == before


async def test_at_start_the_folder_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, error in (("nowhere", FileNotFoundError), ("file", NotADirectoryError)):
        with pytest.raises(error, match=f"manifest folder: .*{name}"):
            await ManifestSource(tmp_path / name).run(lambda _: None)


async def test_kinds_that_are_not_read_are_counted(folder: Path) -> None:
    (folder / "d.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n")
    source, started = ManifestSource(folder), asyncio.Event()
    task = asyncio.create_task(source.run(lambda _: started.set()))
    await asyncio.wait_for(started.wait(), PATIENCE)
    assert source.unread() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_leaves_nothing_behind(folder: Path) -> None:
    before = set(asyncio.all_tasks())
    async for watched in follow(folder):
        assert ServiceKey("default", "a") in watched.snapshot.services
    assert asyncio.all_tasks() == before
