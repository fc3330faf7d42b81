"""Which service proxies run beside us, told by program and network namespace."""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.scratch import namespace
from pointsman.proxy import peers


@contextmanager
def process(*command):
    started = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while not Path(f"/proc/{started.pid}/cmdline").read_bytes():  # between the old program and the new one
            assert time.monotonic() < deadline
        yield started.pid
    finally:
        started.kill()
        started.wait()


@pytest.fixture
def program(tmp_path):
    """A program of a name that nobody else has."""
    path = tmp_path / f"proxy-{os.getpid()}"
    shutil.copy(shutil.which("sleep"), path)
    return path


def test_a_process_is_seen_until_it_ends(program):
    assert peers.running(program.name) == ()
    with process(str(program), "600") as pid:
        assert peers.running(program.name) == (pid,)
    assert peers.running(program.name) == ()


def test_an_argument_of_that_name_is_no_process(program):
    with process("sh", "-c", "sleep 600; :", str(program)):
        assert peers.running(program.name) == ()


@pytest.mark.kernel
def test_another_network_namespace_is_another_node(program):
    with process(str(program), "600") as pid:
        with namespace():
            assert peers.running(program.name) == ()
        assert peers.running(program.name) == (pid,)
