"""Starts programs side by side and shows what they say one after the other: how the tools that run tests use all processors.

A lane is a row of programs of which each begins when the one before it has ended; the lanes go on at the same time. What the first program
says is shown as it comes, that of the others follows when it has ended, each below its title. All of them end with us, also by Ctrl-C: that
reaches us alone, so each is told once and takes down what it has built.

Sessions of pytest that are given the same folder of claims share their tests (tests/conftest.py): each takes the next one when it has done
one, so that all end at about the same time.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

FOLDER = Path(__file__).parent.parent
WORKERS = 3
"""More of them wait for each other."""
NO_TESTS = 5
"""The status by which pytest says that no test was selected."""
POLL_SECONDS = 0.1
TIDY_SECONDS = 120.0
ENDING = (signal.SIGTERM, signal.SIGHUP)
COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")
TABLE = re.compile(r"^(\d+) cases in (\d+) worlds, (\d+) differ", re.MULTILINE)
RED = re.compile(r"^(?:FAILED|ERROR) .*$", re.MULTILINE)


@dataclass
class Program:
    """A program: what it is to people, its command line, and what it is told by the environment besides ours."""

    title: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """What became of a program: its exit status, and all that it said."""

    status: int
    text: str


class Running:
    """A program from its start, which writes into a file."""

    def __init__(self, program: Program, output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                program.command,
                cwd=FOLDER,
                env={**os.environ, "PYTHONSAFEPATH": "1", **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
            )

    @property
    def over(self) -> bool:
        """Return whether it has ended."""
        return self.process.poll() is not None


class Lanes:
    """All lanes, from their start to their end."""

    def __init__(self, lanes: Iterable[Sequence[Program]], folder: Path) -> None:
        self.folder = folder
        self.lanes = [list(lane) for lane in lanes]
        self.running: dict[int, Running] = {}  # by the identity of its program

    def begin(self) -> None:
        """Start what waits for nothing any more."""
        for lane in self.lanes:
            for program in lane:
                if id(program) not in self.running:
                    self.running[id(program)] = Running(program, self.folder / str(len(self.running)))
                if not self.running[id(program)].over:
                    break

    def show(self, program: Program) -> Ended:
        """Show a program's output while it grows, and return how it ended."""
        print(f"--- {program.title}", flush=True)
        while id(program) not in self.running:
            time.sleep(POLL_SECONDS)
            self.begin()
        running = self.running[id(program)]
        with running.output.open("rb") as file:
            while True:
                over = running.over
                sys.stdout.buffer.write(file.read())
                sys.stdout.buffer.flush()
                if over:
                    return Ended(running.process.returncode, running.output.read_text(errors="replace"))
                time.sleep(POLL_SECONDS)
                self.begin()

    def end(self) -> None:
        """End what still runs, and wait for it."""
        left = [running.process for running in self.running.values() if not running.over]
        if left:
            for number in (signal.SIGINT, *ENDING):
                signal.signal(number, signal.SIG_IGN)  # once is enough: they take down what they have built
        for process in left:
            process.terminate()
        for process in left:
            try:
                process.wait(TIDY_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def run(*lanes: Sequence[Program]) -> list[Ended]:
    """Run all lanes; return how their programs ended, lane by lane."""
    with tempfile.TemporaryDirectory(prefix="pointsman-lanes-") as scratch:
        made = Lanes(lanes, Path(scratch))
        try:
            made.begin()
            return [made.show(program) for lane in made.lanes for program in lane]
        finally:
            made.end()


def _told(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def end_in_order() -> None:
    """Let a signal that ends us end what we have started: Python does so by itself with Ctrl-C only."""
    for number in ENDING:
        signal.signal(number, _told)


def workers() -> int:
    """Return how many sessions share their tests here."""
    return max(1, min(WORKERS, len(os.sched_getaffinity(0))))


def sharing(title: str, count: int, command: Sequence[str], claims: Path, **environment: str) -> list[list[Program]]:
    """Return so many sessions of pytest, each in a lane of its own, that share their tests by means of a folder of claims."""
    told = {**environment, "POINTSMAN_CLAIMS": str(claims)}
    return [[Program(f"{title}, session {number} of {count}", command, told)] for number in range(1, count + 1)]


def counts(texts: Iterable[str]) -> Counter[str]:
    """Return how many tests passed, failed, and broke outside of themselves (`error`), by the last lines of sessions of pytest."""
    counted: Counter[str] = Counter()
    for text in texts:
        for count, word in COUNT.findall(text.rstrip().rpartition("\n")[2]):
            counted[word.removesuffix("s")] += int(count)
    return counted


def summary(name: str, ended: Sequence[Ended], things: str, seconds: float) -> str:
    """Return the sum of sessions that shared their tests, and before it once more what was red in them."""
    texts = [one.text for one in ended]
    counted = counts(texts)
    found = [match for text in texts for match in TABLE.findall(text)]
    words = ", ".join(f"{counted[word]} {word}" for word in ("passed", "failed", "error") if counted[word]) or "no test"
    table = f"; contract table: {sum(int(one[0]) for one in found)} cases, {sum(int(one[2]) for one in found)} differ" if found else ""
    good = all(one.status in (0, NO_TESTS) for one in ended) and counted["passed"] > 0
    said = f"{name}: {'PASSED' if good else 'FAILED'}: {words}{table}; {len(ended)} {things}, {seconds:.0f} s"
    return "\n".join([*red(texts), said])


def red(texts: Iterable[str]) -> Iterator[str]:
    """Yield what sessions of pytest say of each test that failed."""
    for text in texts:
        yield from RED.findall(text)
