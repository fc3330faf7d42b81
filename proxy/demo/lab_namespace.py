"""Network namespaces of one laboratory: made, entered and removed.

A namespace is entered by one thread that does nothing else, so the rest of the process never changes place: it opens a socket there, and
the socket belongs to that namespace for life, whoever uses it (a network namespace is chosen when a socket is made). Sysctls are written
the same way and so never reach the host. Removal goes on past errors and says what it could not remove.
"""

import ctypes
import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

NAMED = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_AT_ONCE = 16
_END = "end of batch"
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


class LabError(Exception):
    """The laboratory cannot be built or used; the text says which command failed, and what it said."""


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _ip(options: Sequence[str], text: str) -> None:
    """Run one batch of `ip` commands; the first that fails ends it."""
    command = ["ip", *options, "-batch", "-"]
    # Ctrl-C is for us: what runs is ended in order, what is being removed is removed.
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")


def _ip_each(runs: Sequence[tuple[Sequence[str], str]]) -> None:
    """Run batches of `ip` commands, one after the other; the first command that fails ends all.

    They are started by a shell: how long a start takes grows with the memory of who starts, and under User-Mode Linux it is most of it.
    """
    words = [shlex.join(["ip", *options, "-batch", "-"]) for options, _ in runs]
    steps = [
        f"{command} <<'{_END}' || {{ status=$?; echo {shlex.quote(command)}; exit $status; }}\n{text.rstrip()}\n{_END}\n"
        for command, (_, text) in zip(words, runs, strict=True)
    ]
    done = subprocess.run(["sh"], input="".join(steps), capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise LabError(f"{done.stdout.strip()}: {done.stderr.strip() or f'exit status {done.returncode}'}")


class Namespaces:
    """The namespaces of one laboratory, called `scope-name`."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._descriptors: dict[str, int] = {}
        self._spare: dict[tuple[str, int, int], list[socket.socket]] = {}
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{scope}-namespaces")

    def full_name(self, name: str) -> str:
        """Return the name under which `ip netns` lists a namespace."""
        return f"{self._scope}-{name}"

    def create(self, names: Iterable[str]) -> None:
        """Make the namespaces. Raises LabError; those made before the error are removed by `remove`, one that was there before is not."""
        wanted = list(names)
        taken = {name for name in wanted if (NAMED / self.full_name(name)).exists()}
        try:
            _ip((), "".join(f"netns add {self.full_name(name)}\n" for name in wanted))
        except FileNotFoundError as error:
            raise LabError("the program `ip` is not installed (Debian package iproute2)") from error
        finally:
            for name in wanted:
                path = NAMED / self.full_name(name)
                if path.exists() and name not in taken:
                    self._descriptors[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def batch(self, name: str, text: str) -> None:
        """Run `ip` commands in a namespace; lines that begin with `-6` by `ip -6`."""
        self.batches([(name, text)])

    def batches(self, texts: Iterable[tuple[str, str]]) -> None:
        """Run `ip` commands in several namespaces, in this order; lines that begin with `-6` by `ip -6`. Raises LabError."""
        runs: list[tuple[Sequence[str], str]] = []
        for name, text in texts:
            space = ("-n", self.full_name(name))
            lines = text.splitlines()
            runs.append((space, "\n".join(line for line in lines if not line.startswith("-6 "))))
            for_v6 = [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ")]
            if for_v6:
                runs.append(((*space, "-6"), "\n".join(for_v6)))
        _ip_each(runs)

    def inside(self, name: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, run inside a namespace; it must be quick and must not wait."""
        descriptor = self._descriptors[name]

        def go() -> T:
            _enter(descriptor)
            try:
                return work()
            finally:
                _enter(self._home)

        return self._thread.submit(go).result()

    def sysctl(self, name: str, settings: Mapping[str, str]) -> None:
        """Write sysctls (`net/ipv4/ip_forward`) of a namespace; one that this kernel does not have per namespace is left out.

        A `*` stands for every interface.
        """

        def write() -> None:
            for key, value in settings.items():
                for path in Path("/proc/sys").glob(key):
                    path.write_text(value)

        self.inside(name, write)

    def sockets(self, name: str, family: int, kind: int, protocol: int = 0, count: int = 1) -> list[socket.socket]:
        """Open non-blocking sockets inside a namespace."""

        def make() -> list[socket.socket]:
            made = [socket.socket(family, kind, protocol) for _ in range(count)]
            for one in made:
                one.setblocking(False)
            return made

        return self.inside(name, make)

    def take(self, name: str, family: int, kind: int) -> socket.socket:
        """Return a non-blocking socket inside a namespace. Several are opened at once and kept, as entering takes longer than opening."""
        spare = self._spare.setdefault((name, family, kind), [])
        if not spare:
            spare += self.sockets(name, family, kind, count=_AT_ONCE)
        return spare.pop()

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return a command line that runs a program inside a namespace and changes nothing else of its surroundings."""
        return ["nsenter", f"--net={NAMED / self.full_name(name)}", "--", *arguments]

    def remove(self) -> tuple[str, ...]:
        """Remove every namespace; return what is left in spite of that, in words. May be called twice."""
        left = []
        for one in (one for spare in self._spare.values() for one in spare):
            one.close()
        self._spare.clear()
        names = [self.full_name(name) for name in self._descriptors]
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        _delete_all(names)
        for full_name in names:
            if (NAMED / full_name).exists():
                problem = _delete(full_name)
                if (NAMED / full_name).exists():
                    left.append(f"network namespace {full_name}: {problem}; remove it by: ip netns del {full_name}")
        self._thread.shutdown(wait=True)
        if self._home >= 0:
            os.close(self._home)
            self._home = -1
        return tuple(left)


def _delete_all(full_names: Sequence[str]) -> None:
    """Remove namespaces by one process; what fails is seen by what is still there."""
    if full_names:
        with suppress(LabError, OSError):
            _ip(("-force",), "".join(f"netns del {name}\n" for name in full_names))


def _delete(full_name: str) -> str:
    """Remove a namespace; return what `ip` said against it."""
    try:
        command = ["ip", "netns", "del", full_name]
        return subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True).stderr.strip()
    except OSError as error:
        return str(error)
