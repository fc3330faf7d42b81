"""Whoever loads parts of pyroute2 on a thread does so alone."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from {module} import {name}
from pointsman.netlink.loading import ALONE

class Watcher:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("pyroute2"):
            assert ALONE.locked(), f"{{name}} is loaded while others may load"
            raise KeyboardInterrupt  # that is all there is to see

assert "pyroute2" not in sys.modules
sys.meta_path.insert(0, Watcher())
try:
    {name}()
except KeyboardInterrupt:
    assert not ALONE.locked()
    print("alone")
"""


@pytest.mark.parametrize(("module", "name"), [("pointsman.conntrack.channel", "Talk"), ("pointsman.ipvs.channel", "_Talk")])
def test_it_is_loaded_by_one_thread_at_a_time(module, name):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(module=module, name=name)], capture_output=True, text=True, check=False)
    assert done.stdout == "alone\n", done.stderr
