"""The whole suite in two parts: what needs IPVS is not forgotten, whatever is selected, and both parts are told of."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[2] / "tools" / "suite"


def started(*arguments):
    """Run it as if this kernel had no IPVS."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    command = [sys.executable, SUITE, "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**known, "POINTSMAN_KERNEL": "uml"})


def test_where_nothing_needs_ipvs_no_other_kernel_is_started():
    done = started("tests/house/test_purity.py")
    assert done.returncode == 0, done.stdout
    assert "whole suite: tests under this kernel passed, no test was left to another kernel" in done.stdout
    assert "IPVS kernel" not in done.stdout


def test_a_selection_of_nothing_is_a_failure():
    assert started("tests/house/test_purity.py", "-k", "nosuch").returncode == 5


@pytest.mark.kernel
def test_what_needs_ipvs_runs_under_the_other_kernel_even_if_nothing_else_was_selected():
    done = started("tests/ipvs/test_preflight.py", "-k", "not_there_is_named")
    assert done.returncode == 0, done.stdout
    assert "IPVS kernel: PASSED: 1 passed; " in done.stdout
    assert "whole suite: tests under this kernel passed, 1 tests under the kernel with IPVS passed, " in done.stdout


@pytest.mark.kernel
def test_an_interrupted_one_leaves_no_kernel_behind(tmp_path):
    known = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    environment = {**known, "POINTSMAN_KERNEL": "uml", "TMPDIR": str(tmp_path)}
    command = [sys.executable, SUITE, "-p", "no:cacheprovider", "tests/ipvs/test_servers.py"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("pointsman-uml-*/started")):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("pointsman-*"))


def test_a_test_that_fails_under_this_kernel_fails_the_suite(tmp_path):
    (tmp_path / "test_red.py").write_text("def test_red():\n    assert not 'red'\n")
    done = started(str(tmp_path), "--rootdir", str(tmp_path), "-c", "/dev/null")
    assert done.returncode == 1
    assert "whole suite: tests under this kernel FAILED" in done.stdout
