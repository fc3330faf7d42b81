import asyncio
import os
from pathlib import Path

import pytest
from pointsman.proxy.config_watch import ConfigFile, Stop, changed, digest, end_on_change

TEXT = b"kind: KubeProxyConfiguration\n"
PATIENCE = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.conf"
    path.write_bytes(TEXT)
    return path


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def replace(path: Path, content: bytes) -> None:
    other = path.with_name("new")
    other.write_bytes(content)
    other.rename(path)


def swap(link: Path, target: str) -> None:
    """Replace a link in one step, as a ConfigMap volume does."""
    other = link.with_name("..tmp")
    other.symlink_to(target)
    os.replace(other, link)  # noqa: PTH105 - follows no link


def volume(folder: Path) -> Path:
    """Make a ConfigMap volume of two versions, of which the first is shown; return the path of its file."""
    for version, content in (("..1", TEXT), ("..2", b"other")):
        (folder / version).mkdir()
        (folder / version / "config.conf").write_bytes(content)
    (folder / "..data").symlink_to("..1")
    (folder / "config.conf").symlink_to("..data/config.conf")
    return folder / "config.conf"


async def start(path: Path) -> asyncio.Task[None]:
    watching = asyncio.create_task(changed(ConfigFile(path, digest(TEXT)), settle=0.01, rescan=0.5))
    await asyncio.sleep(0)
    return watching


async def ended(watching: asyncio.Task[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await watching


async def test_proc_07_a_change_is_seen_though_a_neighbour_is_written_all_the_time(file: Path) -> None:
    watching = asyncio.create_task(changed(ConfigFile(file, digest(TEXT)), settle=5.0, burst=0.05, rescan=5.0))

    async def neighbour() -> None:
        while True:
            put(file.with_name("lock"), b"")
            await asyncio.sleep(0.005)

    writing = asyncio.create_task(neighbour())
    await asyncio.sleep(0.05)
    put(file, b"other")
    await ended(watching)
    writing.cancel()


async def test_proc_07_a_file_that_is_written_to_has_changed(file: Path) -> None:
    watching = await start(file)
    put(file, TEXT + b"mode: ipvs\n")
    await ended(watching)


async def test_proc_07_a_file_that_is_replaced_has_changed(file: Path) -> None:
    watching = await start(file)
    replace(file, b"other")
    await ended(watching)


async def test_proc_07_a_configmap_that_is_swapped_has_changed(tmp_path: Path) -> None:
    watching = await start(volume(tmp_path))
    swap(tmp_path / "..data", "..2")
    await ended(watching)


async def test_what_changed_between_reading_and_watching_is_seen(file: Path) -> None:
    put(file, b"other")
    await ended(await start(file))


async def test_a_file_of_the_same_content_has_not_changed(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    watching = await start(file)
    os.unlink(file)  # noqa: PTH108
    async with asyncio.timeout(PATIENCE):
        while "cannot be read" not in caplog.text:  # noqa: ASYNC110 - a log line sets no event
            await asyncio.sleep(0.01)
    put(file, TEXT)
    os.utime(file)
    await asyncio.sleep(0.1)
    assert not watching.done()
    put(file, b"other")
    await ended(watching)
    assert caplog.text.count("cannot be read") == 1


async def test_proc_07_the_agent_is_told_to_end_with_an_error(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop = Stop()
    assert stop.status == 0
    put(file, b"other")
    await end_on_change(ConfigFile(file, digest(TEXT)), stop)
    assert stop.is_set()
    assert stop.status == 1
    assert "the configuration file changed" in caplog.text
