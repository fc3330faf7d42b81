"""A folder of manifests as a source of objects: read at start, then watched.

The folder's own .yaml, .yml and .json files are read, links followed, hidden files ignored (`kubectl apply -f DIR` does the same). inotify
tells what changed, and nothing runs until it does: the named files are read again, all that arrives within a few milliseconds becomes one
batch. A file that is being written is read when its writer closes it. A change of a name that begins with `..` means a ConfigMap volume has
been swapped, one of the folder itself that it may be gone: then every file's time, size and inode are compared. The same is done when the
kernel's queue of events ran over, and now and then, which also finds what a writer wrote who never closes. Reading and decoding happen in
a thread.

What a broken file or a folder that vanished means for its objects is `folder`'s task; this module has the effects only.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from asyncinotify import Event, Inotify, Mask
from pointsman.kube.events import Batch, Sink
from pointsman.kube.folder import Folder, ManifestFile, parse_file, unreadable

SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_BYTES: Final = 256 * 1024 * 1024

_QUIET_SECONDS: Final = 0.005   # a batch ends after so long without a change
_LONGEST_SECONDS: Final = 0.1   # and after so long in any case
_CLOSE_SECONDS: Final = 1.0     # how long a new file may stay unread because nobody has closed it
_RETURN_SECONDS: Final = 0.2    # how often a vanished folder is looked for
_AT_ONCE: Final = 500           # events heard without a pause, a few milliseconds' work
_BAD_STAMP: Final = -1

# Not MODIFY: it would have half-written files read.
_EVENTS: Final = (
    Mask.CREATE | Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.MOVE | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
)
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM}


class ManifestSource:
    """Implements `kube.events.Source` for a folder.

    `rescan` is the number of seconds after which all files are compared even if nothing was heard of.
    """

    def __init__(self, directory: Path | str, *, rescan: float = 30.0) -> None:
        self._directory = Path(directory)
        self._root = str(self._directory)
        self._rescan = rescan
        self._folder = Folder(str(directory))
        self._started = False

    async def run(self, sink: Sink) -> None:
        """Deliver everything, then changes, until cancelled.

        Raises OSError if at the start the folder does not exist, is not a folder or may not be read, or if it cannot be watched.
        """
        self._check()
        while True:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it went between looking and watching
                await self._watch(sink)
            while self._identity() is None:  # noqa: ASYNC110  nothing tells when a path begins to exist
                await asyncio.sleep(_RETURN_SECONDS)

    def unread(self) -> int:
        """Return how many objects the folder holds of kinds that are not read here, such as Deployments."""
        return self._folder.unread()

    async def _watch(self, sink: Sink) -> None:
        """Deliver until the folder is gone or another one stands in its place."""
        identity = self._identity()
        with _watched(self._directory, self._rescan) as changes:  # before the first file is read: no change falls between
            await self._deliver(sink, None)
            while self._identity() == identity:
                await self._deliver(sink, await changes.gathered())
            await self._deliver(sink, None)

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


class _Changes:
    """What inotify tells of a folder, gathered until it is quiet for a moment."""

    def __init__(self, folder: Path, rescan: float, inotify: Inotify) -> None:
        self._root = str(folder)
        self._rescan = rescan
        self._inotify = inotify
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._count = 0
        self._named: set[str] = set()
        self._all = False
        self._unclosed: dict[str, asyncio.TimerHandle] = {}
        self._comparison = self._loop.call_later(rescan, self._tell, None)
        self._reading = self._loop.call_soon(self._read)
        self._loop.add_reader(inotify.fd, self._read)

    def close(self) -> None:
        """End listening; inotify may be closed then."""
        self._loop.remove_reader(self._inotify.fd)
        for handle in (self._reading, self._comparison, *self._unclosed.values()):
            handle.cancel()

    async def gathered(self) -> frozenset[str] | None:
        """Wait for changes and return the files to read again, None for a comparison of all."""
        await self._told.wait()
        latest, seen = self._loop.time() + _LONGEST_SECONDS, -1
        while seen != self._count and self._loop.time() < latest:
            seen = self._count
            await asyncio.sleep(_QUIET_SECONDS)
        names = None if self._all else frozenset(self._named)
        self._told.clear()
        self._named.clear()
        self._all = False
        if names is None:
            self._comparison.cancel()
            self._comparison = self._loop.call_later(self._rescan, self._tell, None)
        return names

    def _read(self) -> None:
        """Hear what the kernel has to tell. Of very much only a part: others on this event loop have their turn in between."""
        heard = 0
        for event in islice(self._inotify, _AT_ONCE):
            self._hear(event)
            heard += 1
        if heard == _AT_ONCE:
            self._reading.cancel()
            self._reading = self._loop.call_soon(self._read)

    def _hear(self, event: Event) -> None:
        """Take note of one event; without a name it is about the folder itself, or says that events were lost."""
        name = str(event.name or "..")
        if name.startswith(".."):
            self._tell(None)
        elif not _is_manifest(name):
            return
        elif Mask.CREATE in event and self._is_being_written(name):
            self._named.discard(name)
            if name not in self._unclosed:
                self._unclosed[name] = self._loop.call_later(_CLOSE_SECONDS, self._tell, name)
        elif not (Mask.ATTRIB in event and name in self._unclosed):
            self._tell(name)

    def _tell(self, name: str | None) -> None:
        """Have a file read again, or all compared."""
        if name is None:
            self._all = True
        else:
            self._named.add(name)
            if (timer := self._unclosed.pop(name, None)) is not None:
                timer.cancel()
        self._count += 1
        self._told.set()

    def _is_being_written(self, name: str) -> bool:
        """Tell whether a new name will be closed by a writer: links, pipes and folders are complete from the beginning."""
        try:
            found = os.lstat(f"{self._root}/{name}")
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


@contextlib.contextmanager
def _watched(folder: Path, rescan: float) -> Iterator[_Changes]:
    """Watch a folder while the body runs. Raises OSError if it is gone, may not be read, or if inotify is exhausted."""
    with contextlib.ExitStack() as stack:
        try:
            inotify = stack.enter_context(Inotify(sync_timeout=0))
            inotify.add_watch(folder, _EVENTS)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            raise OSError(error.errno, f"manifest folder: cannot be watched ({error.strerror}); is fs.inotify.max_user_instances or "
                          "max_user_watches exhausted?", str(folder)) from error
        changes = _Changes(folder, rescan, inotify)
        try:
            yield changes
        finally:
            changes.close()


def _is_manifest(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"
