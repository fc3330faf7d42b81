"""A folder of manifests as a source of objects: read at start, then watched.

The folder's own .yaml, .yml and .json files are read, links followed, hidden files ignored (`kubectl apply -f DIR` does the same). inotify
tells what changed: the named files are read again, all that arrives within a few milliseconds becomes one batch. A change of a name that
begins with `..` means a ConfigMap volume has been swapped, one of the folder itself that it may be gone: then every file's time, size and
inode are compared. The same is done now and then, should an event have been lost. Reading and decoding happen in a thread.

What a broken file or a folder that vanished means for its objects is `folder`'s task; this module has the effects only.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pointsman.kube.events import Batch, Sink
from pointsman.kube.folder import Folder, ManifestFile, parse_file, unreadable
from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_BYTES: Final = 256 * 1024 * 1024

_STEP_MS: Final = 5         # a batch ends after so long without a change
_LONGEST_MS: Final = 100    # and after so long in any case
_RETURN_SECONDS: Final = 0.2  # how often a vanished folder is looked for
_BAD_STAMP: Final = -1


class ManifestSource:
    """Implements `kube.events.Source` for a folder.

    `rescan` is the number of seconds after which all files are compared even if nothing was heard of.
    """

    def __init__(self, directory: Path | str, *, rescan: float = 30.0) -> None:
        self._directory = Path(directory)
        self._root = str(self._directory)
        self._rescan_ms = int(rescan * 1000)
        self._folder = Folder(str(directory))
        self._started = False

    async def run(self, sink: Sink) -> None:
        """Deliver everything, then changes, until cancelled.

        Raises OSError if at the start the folder does not exist, is not a folder or may not be read, or if it cannot be watched.
        """
        self._check()
        while True:
            try:
                with contextlib.suppress(FileNotFoundError):  # it went between looking and watching
                    await self._watch(sink)
            except WatchfilesRustInternalError as error:
                raise OSError(errno.ENOSPC, f"manifest folder: cannot be watched ({error}); is fs.inotify.max_user_instances or "
                              "max_user_watches exhausted?", str(self._directory)) from error
            while self._identity() is None:  # noqa: ASYNC110  nothing tells when a path begins to exist
                await asyncio.sleep(_RETURN_SECONDS)

    def unread(self) -> int:
        """Return how many objects the folder holds of kinds that are not read here, such as Deployments."""
        return self._folder.unread()

    async def _watch(self, sink: Sink) -> None:
        """Deliver until the folder is gone or another one stands in its place."""
        identity = self._identity()
        changes = awatch(
            self._directory,
            watch_filter=None,
            debounce=_LONGEST_MS,
            step=_STEP_MS,
            rust_timeout=self._rescan_ms,
            yield_on_timeout=True,
            recursive=False,
        )
        async with contextlib.aclosing(changes):
            upcoming = asyncio.ensure_future(anext(changes))
            try:
                await asyncio.sleep(0)  # the watch stands before the first file is read, so that no change falls between
                await self._deliver(sink, None)
                while self._identity() == identity:
                    changed = await upcoming
                    await self._deliver(sink, self._named(path for _, path in changed) if changed else None)
                    upcoming = asyncio.ensure_future(anext(changes))
                await self._deliver(sink, None)
            finally:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)

    def _named(self, paths: Iterable[str]) -> frozenset[str] | None:
        """Return the files to read again, None for a comparison of all."""
        names = set()
        for path in paths:
            name = Path(path).name
            if Path(path) == self._directory or name.startswith(".."):
                return None
            if _is_manifest(name):
                names.add(name)
        return frozenset(names)

    async def _deliver(self, sink: Sink, names: frozenset[str] | None) -> None:
        batch = await asyncio.to_thread(self._update, names)
        if batch is not None:
            sink(batch)

    def _update(self, names: frozenset[str] | None) -> Batch | None:
        """Read what changed (None: compare all files) and return the difference. Runs in a thread, never twice at a time."""
        try:
            stamps = self._stamps() if names is None else {name: self._stamp(name) for name in names if self._directory.is_dir()}
        except OSError as error:
            self._folder.fail(f"{_reason(error)}; the last good state stays")
            return self._folder.take()
        if names is None:
            self._folder.fail("")
            stamps |= {name: None for name in self._folder.names() if name not in stamps}
        for name in sorted(stamps):
            stamp, former = stamps[name], self._folder.file(name)
            if stamp is None:
                self._folder.drop(name)
            elif names is not None or former is None or former.stamp != stamp or stamp == _BAD_STAMP:
                self._folder.put(self._read(name, stamp, former))
        if not self._started:
            self._started = True
            return self._folder.take_all()
        return self._folder.take()

    def _stamps(self) -> dict[str, int | None]:
        """Return a stamp for each manifest of the folder. Raises OSError if the folder cannot be listed."""
        with os.scandir(self._directory) as entries:
            names = [entry.name for entry in entries if _is_manifest(entry.name)]
        return {name: self._stamp(name) for name in names}

    def _stamp(self, name: str) -> int | None:
        """Return a number that changes with a file's content, None if there is no such file."""
        path = self._path(name)
        try:
            found = os.stat(path)  # noqa: PTH116  a Path costs more than the call, for each of many thousand files
        except OSError:
            return _BAD_STAMP if os.path.lexists(path) else None
        if stat.S_ISDIR(found.st_mode):
            return None
        return hash((found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)) & 0x7FFF_FFFF_FFFF_FFFF

    def _read(self, name: str, stamp: int, former: ManifestFile | None) -> ManifestFile:
        """Read one file; what cannot be read is a problem, not an error."""
        place = self._folder.place(name)
        try:
            path = self._path(name)
            found = os.stat(path)  # noqa: PTH116  as above
            if not stat.S_ISREG(found.st_mode):
                return unreadable(place, name, stamp, "is not a regular file", former)
            if found.st_size > MAX_BYTES:
                return unreadable(place, name, stamp, f"is larger than {MAX_BYTES >> 20} MiB", former)
            with open(path, "rb") as file:  # noqa: PTH123  as above
                content = file.read()
        except OSError as error:
            return unreadable(place, name, stamp, _reason(error), former)
        return parse_file(place, name, stamp, content, former)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _check(self) -> None:
        """Raise OSError if the folder cannot serve."""
        try:
            with os.scandir(self._directory):
                pass
        except OSError as error:
            raise type(error)(error.errno, f"manifest folder: {error.strerror}", str(self._directory)) from error

    def _identity(self) -> tuple[int, int] | None:
        """Return which folder stands at the path, None if there is none."""
        try:
            found = self._directory.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _is_manifest(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"
