"""A network namespace for one test: nameless, entered by the test's thread, gone when it leaves."""

import ctypes
import os
import subprocess
from collections.abc import Hashable
from contextlib import contextmanager
from pathlib import Path

from pointsman.dataplane import plan as planning
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.fragment import Desired
from pointsman.iptables.compile import IptablesCompiler

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def _check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def namespace():
    """Put this thread, and every process that it starts, into a new network namespace with its loopback up."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_LIBC.unshare(_CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _check(_LIBC.setns(home, _CLONE_NEWNET))
    finally:
        os.close(home)


@contextmanager
def lock_file(monkeypatch, folder):
    """Give the tools a lock file of their own, so that tests do not wait for each other."""
    path = Path(folder) / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(path))
    yield path


def shell(command, *, text="", check=True):
    """Run a shell command in the thread's namespace, as somebody else would; return its output."""
    done = subprocess.run(["sh", "-c", command], input=text, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def desired(family, routing, node):
    """Return everything that a routing wants, as a map."""
    compiler = IptablesCompiler(family)
    wanted = Desired()
    fragments: dict[Hashable, object] = {planning.STATIC: compiler.static(node, routing)}
    fragments.update((key, compiler.compile(route, node)) for key, route in routing.routes.items() if key.family is family)
    wanted.update(fragments)
    return dict(wanted.values)


def difference(family, wanted, seen):
    """Return the plan that makes what was seen as wanted."""
    compiler = IptablesCompiler(family)
    delta = Delta(wanted, compiler.group)
    delta.observe(seen)
    return planning.make(delta, compiler.rank, compiler.group)
