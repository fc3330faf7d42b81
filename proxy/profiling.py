"""/debug/pprof and /debug/flags/v: looking into the running agent, where `--profiling` asks for it.

What Go's endpoints mean is answered in Python's terms: a CPU profile of the event loop's thread, by sampling (`pprof` writes it in the
format of Go's tools; `?debug=1` as text); the tasks in place of goroutines; the threads; what the memory holds. What has no meaning here is
refused in words. Sampling happens in a thread and costs some per cent while it lasts; at other times nothing here costs anything.
"""

import asyncio
import gc
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from io import StringIO
from types import FrameType

from pointsman.proxy import logs, memory, pprof
from pointsman.proxy.pprof import Frame, Stack
from pointsman.proxy.servers import Answer, Answering, Question

ROOT = "/debug/pprof/"
PERIOD = 0.01
"""Seconds between two samples."""

LONGEST = 300.0
"""Seconds that a profile may take."""

ALLOCATION_FRAMES = 8
LISTED = 40
"""At most so many kinds of objects, or places, are listed."""

_BINARY = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
_REFUSED = {
    "block": "nothing blocks in an event loop; look at goroutine, which shows what each task waits for",
    "mutex": "there are no contended mutexes in an event loop; look at goroutine",
    "trace": "there is no execution trace of a Python program; take a profile",
    "symbol": "profiles carry their symbols with them",
}
_INDEX = """CPU and memory of the running agent; the profile is read by `go tool pprof` and the like.

profile?seconds=30          CPU of the event loop's thread, sampled; with &debug=1 as text, one stack per line
goroutine                   the event loop's tasks, and what each waits for
threadcreate                the threads, and where each is
heap                        objects by type, and the resident memory
allocs?seconds=10           what was allocated during that time and is still there, by place; slows the agent down meanwhile
cmdline                     the command line
"""


class Profiling:
    """Answers of one process; one profile at a time."""

    def __init__(self) -> None:
        self._busy = asyncio.Lock()

    def paths(self) -> Mapping[str, Answering]:
        """Return what is answered."""
        return {
            ROOT: self._other,
            f"{ROOT}profile": self._profile,
            f"{ROOT}goroutine": self._tasks,
            f"{ROOT}threadcreate": self._threads,
            f"{ROOT}heap": self._heap,
            f"{ROOT}allocs": self._allocations,
            f"{ROOT}cmdline": lambda _: Answer(200, "\0".join(sys.argv).encode()),
            "/debug/flags/v": set_verbosity,
        }

    def _other(self, question: Question) -> Answer:
        name = question.path.removeprefix(ROOT)
        if not name:
            return Answer(200, _INDEX.encode())
        if name in _REFUSED:
            return Answer(501, f"{name}: {_REFUSED[name]}\n".encode())
        return Answer(404, f"unknown profile {name!r}; see {ROOT}\n".encode())

    async def _profile(self, question: Question) -> Answer:
        seconds = _seconds(question, 30.0)
        if seconds is None or self._busy.locked():
            return _refusal(seconds)
        async with self._busy:
            began = time.time_ns()
            samples = await asyncio.to_thread(sample, threading.get_ident(), seconds)
        if question.query.get("debug", "0") != "0":
            return Answer(200, pprof.folded({stack: nanoseconds for stack, (_, nanoseconds) in samples.items()}).encode())
        return Answer(200, pprof.profile(samples, began, seconds, round(PERIOD * 1e9)), _BINARY)

    async def _allocations(self, question: Question) -> Answer:
        seconds = _seconds(question, 10.0)
        if seconds is None or self._busy.locked():
            return _refusal(seconds)
        async with self._busy:
            tracemalloc.start(ALLOCATION_FRAMES)
            try:
                await asyncio.sleep(seconds)
                taken = await asyncio.to_thread(tracemalloc.take_snapshot)
            finally:
                tracemalloc.stop()
        found = await asyncio.to_thread(taken.statistics, "lineno")
        return Answer(200, "".join(f"{one}\n" for one in found[:LISTED]).encode())

    def _tasks(self, _: Question) -> Answer:
        text = StringIO()
        for task in sorted(asyncio.all_tasks(), key=lambda one: one.get_name()):
            task.print_stack(file=text)
            text.write("\n")
        return Answer(200, text.getvalue().encode())

    def _threads(self, _: Question) -> Answer:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        frames = sys._current_frames().items()
        found = (f"thread {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}\n" for ident, frame in frames)
        return Answer(200, "".join(found).encode())

    async def _heap(self, _: Question) -> Answer:
        return Answer(200, (await asyncio.to_thread(heap)).encode())


def set_verbosity(question: Question) -> Answer:
    """Answer PUT /debug/flags/v: set the verbosity of the log, as kube-proxy does."""
    text = question.body.decode(errors="replace").strip()
    if question.method != "PUT":
        return Answer(406, b"unrecognized http method; PUT the number\n")
    if not text.isascii() or not text.isdigit() or len(text) > 2:
        return Answer(400, f"cannot set the verbosity to {text[:20]!r}; it is a number from 0 to 10\n".encode())
    logs.set_verbosity(int(text))
    return Answer(200, f"successfully set klog.logging.verbosity to {text}".encode())


def sample(thread: int, seconds: float, period: float = PERIOD) -> Mapping[Stack, tuple[int, int]]:
    """Return how often each stack of a thread was seen in so many seconds, and the CPU time (nanoseconds) that passed with it."""
    clock = time.pthread_getcpuclockid(thread)
    found: dict[Stack, tuple[int, int]] = {}
    before, end = time.clock_gettime_ns(clock), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(period)
        stack = _stack(sys._current_frames().get(thread))
        now = time.clock_gettime_ns(clock)
        count, nanoseconds = found.get(stack, (0, 0))
        found[stack] = (count + 1, nanoseconds + now - before)
        before = now
    return found


def heap() -> str:
    """Return the resident memory, and how many objects of each type the garbage collector knows; values are not among them."""
    kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    lines = [
        f"resident memory: {memory.resident()} bytes",
        f"objects of the start, which are not looked at any more: {gc.get_freeze_count()}",
        f"objects since then that the garbage collector knows: {kinds.total()}",
    ]
    lines += [f"{count:>10} {kind}" for kind, count in kinds.most_common(LISTED)]
    return "\n".join(lines) + "\n"


def _stack(frame: FrameType | None) -> Stack:
    found = []
    while frame is not None:
        found.append(Frame(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


def _seconds(question: Question, default: float) -> float | None:
    """Return for how long to look; None if the question does not say it right."""
    text = question.query.get("seconds", "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST else None


def _refusal(seconds: float | None) -> Answer:
    if seconds is None:
        return Answer(400, f"seconds must be a number up to {LONGEST:.0f}\n".encode())
    return Answer(409, b"somebody takes a profile already; try again later\n")
