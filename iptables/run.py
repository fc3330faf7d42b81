"""Running the tools: iptables-restore, iptables-save, ipset and their relatives, without ever stalling the event loop.

A cold start hands 15 MB to one restore, and a save answers with as much. Input is written in pieces with the loop in between, output is
passed on line by line as it comes or collected up to a limit; each run has a time limit, and a cancelled or late tool is killed and
waited for (a restore writes a table at COMMIT or not at all, so killing it leaves no half table). `failure` judges what a failed tool
said; who held the lock is added here, because only now it can be looked up.

Next: `kernel`, `ipset`, `preflight`, `variant` and `cleanup` call this; `writer` sees to it that only one of them writes at a time.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import lock
from pointsman.iptables.failure import Failure, judge
from pointsman.iptables.process import Process

_SLICE: Final = 128 * 1024
_STDERR_LIMIT: Final = 64 * 1024
OUTPUT_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of output after which a tool is taken for broken."""
QUICK: Final = 60.0
"""Time limit in seconds for tools that only look at little: a busy machine may take many for that, but not so many."""
LONG: Final = 180.0
"""Time limit in seconds for tools that read or write whole tables."""
_PAUSE: Final = 0.002
"""Seconds after which a full reader is asked again."""


_ADMIN_FOLDERS: Final = "/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """Return the path of a program: from PATH, or from where Debian keeps administrators' tools; None if it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_ADMIN_FOLDERS)


class Finished(Struct, frozen=True):
    """A tool that ended: exit status, both outputs, process id."""

    status: int
    output: bytes
    errors: str
    pid: int


async def run(
    arguments: Sequence[str], text: str | Iterable[str] = "", *, seconds: float = QUICK, output_limit: int = OUTPUT_LIMIT
) -> Finished:
    """Run a tool to its end and return how it ended, whatever its exit status.

    `text` goes to its standard input; given in pieces, they are asked for as the tool reads. Raises KernelError when the tool is absent
    (UNSUPPORTED), late (TIMEOUT) or too talkative (TOO_BIG).
    """
    process = await _start(arguments)
    try:
        async with asyncio.timeout(seconds):
            output, errors, status, _ = await asyncio.gather(
                _collect(process.stdout, output_limit, arguments[0]),
                _collect_start(process.stderr, _STDERR_LIMIT),
                process.wait(),
                _feed(process, text),
            )
    except TimeoutError as error:
        raise _late(arguments, seconds) from error
    finally:
        await _end(process)
    return Finished(status, output, errors.decode(errors="replace"), process.pid)


async def lines(
    arguments: Sequence[str], take: Callable[[list[str]], None], *, full: Callable[[], bool] | None = None, seconds: float = LONG
) -> None:
    """Run a tool that prints a lot and hand its output to `take`, a few thousand lines at a time, while it prints.

    As long as `full` says so nothing more is read, and the tool waits.

    Raises KernelError when the tool fails: `take` may have seen a part by then, which must not be used.
    """
    process = await _start(arguments)
    errors = asyncio.create_task(_collect_start(process.stderr, _STDERR_LIMIT))
    try:
        async with asyncio.timeout(seconds):
            process.stdin.close()
            rest = b""
            while chunk := await process.stdout.read(_SLICE):
                *whole, rest = (rest + chunk).split(b"\n")
                take([line.decode(errors="replace") for line in whole])
                await asyncio.sleep(0)
                while full is not None and full():  # noqa: ASYNC110  what is full is emptied by a thread
                    await asyncio.sleep(_PAUSE)
            if rest:
                take([rest.decode(errors="replace")])
            status = await process.wait()
            said = (await errors).decode(errors="replace")
    except TimeoutError as error:
        raise _late(arguments, seconds) from error
    finally:
        errors.cancel()
        await _end(process)
    if status != 0:
        raise error_of(arguments, judge(status, said))


async def output_of(arguments: Sequence[str], text: str = "", *, seconds: float = QUICK) -> str:
    """Run a tool that must succeed and return what it printed; raise KernelError otherwise."""
    finished = await run(arguments, text, seconds=seconds)
    if finished.status != 0:
        raise error_of(arguments, judge(finished.status, finished.errors))
    return finished.output.decode(errors="replace")


def error_of(arguments: Sequence[str], failure: Failure) -> KernelError:
    """Return the error of a failed tool; on a busy lock it names the holder (pain 37)."""
    text = failure.text
    if failure.kind is ErrorKind.BUSY and "lock" in text and (found := lock.holders()):
        text = f"{text}; {lock.lock_path()} is held by {', '.join(str(holder) for holder in found)}"
    return KernelError(failure.kind, text, arguments[0].rsplit("/", 1)[-1])


async def _start(arguments: Sequence[str]) -> Process:
    try:
        return await Process.start(arguments)
    except FileNotFoundError as error:
        raise KernelError(ErrorKind.UNSUPPORTED, "no such program on this machine: install it", arguments[0]) from error
    except PermissionError as error:
        raise KernelError(ErrorKind.DENIED, "this program may not be run by us", arguments[0]) from error


async def _feed(process: Process, text: str | Iterable[str]) -> None:
    try:
        for piece in _slices((text,) if isinstance(text, str) else text):
            if process.stdin.is_closing():
                return  # uvloop's way to say the same as below
            process.stdin.write(piece.encode())
            await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        return  # the tool ended before it had read all: its exit status and stderr say why


def _slices(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the same text in pieces that are worth a system call, and small enough for one."""
    gathered: list[str] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _SLICE:
            whole = "".join(gathered)
            yield from (whole[start : start + _SLICE] for start in range(0, size, _SLICE))
            gathered, size = [], 0
    if gathered:
        yield "".join(gathered)


async def _collect(stream: asyncio.StreamReader, limit: int, subject: str) -> bytes:
    found = bytearray()
    while chunk := await stream.read(_SLICE):
        found += chunk
        if len(found) > limit:
            raise KernelError(ErrorKind.TOO_BIG, f"printed more than {limit} bytes", subject)
    return bytes(found)


async def _collect_start(stream: asyncio.StreamReader, limit: int) -> bytes:
    found = bytearray()
    while chunk := await stream.read(_SLICE):
        found += chunk[: limit - len(found)]
    return bytes(found)


async def _end(process: Process) -> None:
    """Leave no process behind, whatever happened."""
    if process.returncode is None:
        process.kill()
        await process.wait()
    process.close()


def _late(arguments: Sequence[str], seconds: float) -> KernelError:
    return KernelError(ErrorKind.TIMEOUT, f"did not end within {seconds:g} s and was stopped", arguments[0].rsplit("/", 1)[-1])
