"""A test session that is told to end takes down what its tests have built."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SLEEPER = """
import os, pathlib, subprocess, time

def test_that_sleeps():
    name = f"ended-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    pathlib.Path("made").write_text(name)
    time.sleep(600)
"""


@pytest.mark.kernel
def test_a_session_that_is_told_to_end_leaves_no_namespace(tmp_path):
    (tmp_path / "test_sleeper.py").write_text(SLEEPER)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen([*command, "test_sleeper.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "made").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "SIGTERM" in said
    assert not Path("/run/netns", f"ended-{process.pid}").exists()
    assert process.returncode != -signal.SIGTERM, "it was ended before it had tidied up"
