"""For the whole suite: kernel tests need root and say so by failing, and nothing of ours may stay behind in the kernel.

Tests marked `ipvs` are left to `tools/ipvs-tests` where this kernel has no IPVS; the last lines of the run say how many.
POINTSMAN_KERNEL=host runs them here whatever the kernel has, =uml leaves them to the other kernel in any case. POINTSMAN_SHARE=2/3 runs the
second third of all.

Namespaces made by tests carry this process's id in their name; so suites that run side by side do not see each other's.
"""

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: how long one example takes says nothing about the property.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

NAMESPACES = Path("/run/netns")
ELSEWHERE = pytest.StashKey[int]()


def ipvs_here() -> bool:
    """Return whether tests that need IPVS run in this process."""
    wish = os.environ.get("POINTSMAN_KERNEL")
    return wish == "host" or (wish != "uml" and Path("/proc/net/ip_vs").exists())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another process runs: tests for the other kernel, and other shares."""
    away = [] if ipvs_here() else [item for item in items if item.get_closest_marker("ipvs")]
    config.stash[ELSEWHERE] = len(away)
    items[:] = [item for item in items if ipvs_here() or not item.get_closest_marker("ipvs")]
    which, _, parts = os.environ.get("POINTSMAN_SHARE", "1/1").partition("/")
    mine = items[int(which) - 1 :: int(parts)]
    away += [item for index, item in enumerate(items) if index % int(parts) != int(which) - 1]
    items[:] = mine
    if away:
        config.hook.pytest_deselected(items=away)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left to the other kernel."""
    if count := config.stash.get(ELSEWHERE, 0):
        terminalreporter.line(f"{count} tests need a kernel with IPVS; this one has none: make test-ipvs runs them under another one")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a kernel test at once where it cannot run: a suite that skips them would look green and prove nothing."""
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
