"""Where a cluster is: its name, its folder outside the checkout, its addresses, and which processes are its own.

Nothing but the folder remembers: each of three machines (the control plane's and two nodes') has one process in it, written down with the
moment it began, so that a foreign process which was given the same id is never taken for ours.
"""

import json
import os
import re
import signal
import time
from pathlib import Path

from pointsman.proxy.demo.lab_namespace import NAMED
from pointsman.proxy.demo.lab_topology import UNDERLAY, Topology

TOPOLOGY = Topology(nodes=2, pods_per_node=0)
NODES = TOPOLOGY.node_names
PLANE = UNDERLAY
"""The control plane lives where the cables meet."""
MACHINES = (PLANE, *NODES)
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
LONGEST = 70
"""Letters that the folder's path may have: the paths of Unix sockets below it have at most 107."""


class ClusterError(Exception):
    """The cluster cannot be built or used; the text says what to do."""


class Cluster:
    """A cluster's names and paths; there may be several at a time."""

    def __init__(self, name="pointsman"):
        if not NAME.fullmatch(name):
            raise ClusterError(f"a cluster's name is made of a-z, 0-9 and '-' and has at most 31 of them: {name!r} is none")
        self.name = name
        self.folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pointsman/clusters" / name
        if len(str(self.folder)) > LONGEST:
            raise ClusterError(f"{self.folder} is too long a path for the sockets in it: set XDG_CACHE_HOME to a shorter one")

    @property
    def kubeconfig(self):
        """Return the path of the administrator's kubeconfig for programs on this machine."""
        return self.folder / "kubeconfig"

    @property
    def binaries(self):
        return Path((self.folder / "binaries").read_text())

    def space(self, place):
        """Return the name under which `ip netns` lists a place's network namespace."""
        return f"{self.name}-{place}"

    def network(self, place):
        return NAMED / self.space(place)

    def record(self, machine):
        return self.folder / f"{machine}.process"

    def log(self, program, machine):
        return self.folder / "logs" / f"{machine}-{program}.log"

    def pid(self, machine):
        """Return the id of a machine's process 1, 0 if that does not run."""
        try:
            known = json.loads(self.record(machine).read_text())
            now = Path(f"/proc/{known['pid']}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return 0
        return known["pid"] if now[19] == known["began"] and now[0] != "Z" else 0

    def kill(self, machine, seconds=20.0):
        """End a machine and everything in it; return what is left of it, in words."""
        if not (pid := self.pid(machine)):
            return ""
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + seconds
        while self.pid(machine):
            if time.monotonic() > until:
                return f"process {pid} (everything of {machine}) does not end; end it by: kill -9 {pid}"
            time.sleep(0.05)
        return ""

    def inside(self, machine, *command):
        """Return a command line that runs a program in a machine."""
        if not (pid := self.pid(machine)):
            raise ClusterError(f"{machine} of cluster {self.name} does not run: make cluster")
        return ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--", *map(str, command)]

