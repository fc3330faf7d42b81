"""For the whole suite: kernel tests need root and say so by failing, and nothing of ours may stay behind in the kernel.

Namespaces made by tests carry this process's id in their name; so suites that run side by side do not see each other's.
"""

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMESPACES = Path("/run/netns")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a kernel test at once where it cannot run: a suite that skips them would look green and prove nothing."""
    if item.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.fail("this test programs a kernel inside network namespaces and needs root: sudo make test", pytrace=False)


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
