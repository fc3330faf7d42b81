"""For the whole suite: kernel tests need root and say so by failing, and nothing of ours may stay behind in the kernel.

Tests marked `ipvs` are left to `tools/ipvs-tests` where this kernel has no IPVS; the last lines of the run say how many.
POINTSMAN_KERNEL=host runs them here whatever the kernel has, =uml leaves them to the other kernel in any case. Under that one
POINTSMAN_SHARE is set: =2/3 runs the second third of what it is there for. Under either kernel, a session that finds a folder named by
POINTSMAN_CLAIMS runs what no other session that was given this folder has begun (tools/lanes.py). How many tests are left to the other
kernel is written to the file POINTSMAN_LEFT.

Namespaces made by tests carry this process's id in their name; so suites that run side by side do not see each other's.

Properties are tried with the same examples each time, without limits in time: what is red is so for a reason that is there the next time.
`--hypothesis-profile=explore` tries others.
"""

import logging
import os
import re
import signal
import subprocess
from asyncio import AbstractEventLoop, new_event_loop
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType

import pytest
import uvloop
from hypothesis import HealthCheck, settings

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None, print_blob=True)
settings.load_profile("same")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in its background, and programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
NAMESPACES = Path("/run/netns")
FOR_TWO_KERNELS = re.compile(r"\b(ipvs|IPVS|two_kernels|table_modes)\b")
"""What a file says that has tests for the other kernel. That is slow to read all the others."""
CLAIMS = pytest.StashKey[str]()
ELSEWHERE = pytest.StashKey[int]()
HERE = pytest.StashKey[int]()


def ipvs_here() -> bool:
    """Return whether tests that need IPVS run in this process."""
    wish = os.environ.get("POINTSMAN_KERNEL")
    return wish == "host" or (wish != "uml" and Path("/proc/net/ip_vs").exists())


def pytest_configure(config: pytest.Config) -> None:
    """Take the folder of claims out of the environment: it is not for sessions that tests begin."""
    if folder := os.environ.pop("POINTSMAN_CLAIMS", None):
        config.stash[CLAIMS] = folder


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over files that have nothing for a share."""
    by_share = "POINTSMAN_SHARE" in os.environ and collection_path.suffix == ".py"
    return True if by_share and not FOR_TWO_KERNELS.search(collection_path.read_text()) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another process runs: tests for the other kernel, and other shares."""
    every = items[:]
    needing = [item for item in items if item.get_closest_marker("ipvs")]
    if mute := {item.path for item in needing if not FOR_TWO_KERNELS.search(item.path.read_text())}:
        raise pytest.UsageError(f"the other kernel would pass over {mute}: it reads only files that match {FOR_TWO_KERNELS.pattern}")
    if share := os.environ.get("POINTSMAN_SHARE"):
        which, _, parts = share.partition("/")
        items[:] = [item for item in items if item.get_closest_marker("ipvs") or item.get_closest_marker("two_kernels")]
        if CLAIMS not in config.stash:
            items[:] = items[int(which) - 1 :: int(parts)]
    elif not ipvs_here():
        items[:] = [item for item in items if not item.get_closest_marker("ipvs")]
        if path := os.environ.pop("POINTSMAN_LEFT", None):  # not for sessions that tests begin
            Path(path).write_text(str(len(needing)))
    kept = {id(item) for item in items}
    config.stash[HERE] = sum(id(item) in kept for item in needing)
    config.stash[ELSEWHERE] = 0 if ipvs_here() else len(needing)
    if away := [item for item in every if id(item) not in kept]:
        config.hook.pytest_deselected(items=away)


def claimed(items: list[pytest.Item], folder: Path) -> Iterator[pytest.Item]:
    """Yield the tests that nobody else has begun."""
    for item in items:
        with suppress(FileExistsError):
            (folder / sha256(item.nodeid.encode()).hexdigest()).mkdir()
            yield item


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Share the tests with other sessions: each takes the next one when it has done one, so all end at about the same time."""
    stash = session.config.stash
    if CLAIMS not in stash or session.testsfailed or session.config.option.collectonly:
        return None
    mine = claimed(session.items, Path(stash[CLAIMS]))
    item = next(mine, None)
    while item:
        following = next(mine, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the tests that need IPVS run."""
    if count := config.stash.get(ELSEWHERE, 0):
        terminalreporter.line(f"{count} tests that need IPVS are left to another kernel: `make test` and `make test-ipvs` run them")
    elif (count := config.stash.get(HERE, 0)) and "POINTSMAN_SHARE" not in os.environ:
        terminalreporter.line(f"IPVS kernel: this machine's own, {count} tests that need it")


def _ended(number: int, frame: FrameType | None) -> None:
    """End the session in order when the process is told to end, as by Ctrl-C: namespaces and processes of tests go."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a kernel test at once where it cannot run: a suite that skips them would look green and prove nothing."""
    signal.signal(signal.SIGTERM, _ended)  # each time: event loops that followed it in a test set it back to the default
    if item.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.fail("this test programs a kernel inside network namespaces and needs root: sudo make test", pytrace=False)
    if item.get_closest_marker("ipvs") and not Path("/proc/net/ip_vs").exists():
        pytest.fail("this test needs the kernel module ip_vs: modprobe ip_vs, or run it by tools/ipvs-tests", pytrace=False)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Take back what a test did to logging: commands set levels and outputs for their process, and here all tests are one process."""
    loggers = [logging.getLogger(name) for name in ("", "pointsman")]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = [handler for handler in logger.handlers if handler in handlers]
        logger.propagate = propagate


def left_behind() -> list[str]:
    """Return the namespaces that this process made and did not remove."""
    mine = re.compile(rf"(?<!\d){os.getpid()}(?!\d)")
    return sorted(path.name for path in NAMESPACES.iterdir() if mine.search(path.name)) if NAMESPACES.is_dir() else []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a namespace of this process is still there, and remove it."""
    names = left_behind()
    if not names:
        return
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
    print(f"\nnetwork namespaces left behind by a test: {', '.join(names)}\n-> the test that made them must remove them, also on failure")
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Run async tests on the loop of the programs: uvloop, whose transports are not what asyncio's say they are.

    Not under the other kernel: uvloop starts programs by fork, and there the fork of a process as large as this one takes seconds.
    """
    under_uml = os.environ.get("POINTSMAN_KERNEL") == "host"  # as tools/uml says there
    return {"asyncio": new_event_loop} if under_uml else {"uvloop": uvloop.new_event_loop}
