"""A machine of the cluster: `python cluster_machine.py SPECIFICATION.json` starts it and returns once it runs.

A machine is what a container that plays a node is elsewhere: a network namespace made before, and mount, process, host-name and IPC
namespaces of its own. Its process 1 prepares the file system, starts the programs that are named, starts again what ends, and collects
whoever is orphaned. So a machine goes at once and wholly: when process 1 is killed the kernel ends everything that runs in it, containers
included, and its mounts and the network namespaces of its pods go with it.

The specification: `name` (the host name), `network` (the network namespace's path), `record` (the file that gets process 1's id as this
machine sees it), `log` (process 1's words), `programs` ({name, command, log, environment}). `listen`: a port of 127.0.0.1 *outside*, whose
listening socket the programs inherit as descriptor 3. `own` (for nodes): the folder that holds what the node writes below /var, /etc and
/usr, laid over this machine's; /run is the node's own, and `bound` are folders that must not lie on an overlay ({path inside: folder}).
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LISTENER = 3
AGAIN_SECONDS = 1.0
NEW_SPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000  # mounts, host name, IPC, processes
NEW_NETWORK = 0x40000000
NO_SUID, NO_DEVICES, NO_EXECUTION, BIND, RECURSIVE, PRIVATE, SHARED = 2, 4, 8, 4096, 16384, 1 << 18, 1 << 20
OVERLAID = ("/var", "/etc", "/usr")
libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def mount(source, target, kind="", flags=0, options=""):
    texts = (str(source), str(target), kind, options)
    source, target, kind, options = (text.encode() for text in texts)
    check(libc.mount(source, target, kind, ctypes.c_ulong(flags), options), f"mount {texts}")


def prepare(own, bound):
    """Give a node a file system that is this machine's, and of which it may change everything without changing this machine's."""
    own = Path(own)
    sources = {inside: os.open(folder, os.O_PATH | os.O_DIRECTORY) for inside, folder in bound.items()}
    for path in OVERLAID:
        upper, work = (own / f"{kind}{path.replace('/', '-')}" for kind in ("upper", "work"))
        for folder in (upper, work):
            folder.mkdir(parents=True, exist_ok=True)
        mount("overlay", path, "overlay", options=f"lowerdir={path},upperdir={upper},workdir={work}")
    mount("tmpfs", "/run", "tmpfs", NO_SUID | NO_DEVICES, "mode=755")
    for folder in ("/run/netns", "/run/lock", "/usr/lib/modules", "/var/log/pods", "/var/log/containers"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for inside, descriptor in sources.items():
        Path(inside).mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{descriptor}", inside, flags=BIND)
        os.close(descriptor)


class Init:
    """Process 1."""

    def __init__(self, programs):
        self._programs = programs
        self._running = {}
        self._due = {one["name"]: 0.0 for one in programs}

    def start(self, one):
        with Path(one["log"]).open("ab") as log:
            environment = {**os.environ, **one.get("environment", {})}
            kept = (LISTENER,) if one.get("listens") else ()
            process = subprocess.Popen(
                one["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=kept, start_new_session=True
            )
        self._running[process.pid] = one["name"]
        del self._due[one["name"]]

    def collect(self):
        """Take note of what ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            name = self._running.pop(pid, None)
            if name:
                say(f"{name} (process {pid}) ended: {os.waitstatus_to_exitcode(status)}; it is started again")
                self._due[name] = time.monotonic() + AGAIN_SECONDS

    def run(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
        while True:
            for one in self._programs:
                if self._due.get(one["name"], float("inf")) <= time.monotonic():
                    self.start(one)
            heard = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, AGAIN_SECONDS)
            if heard is not None and heard.si_signo == signal.SIGTERM:
                return
            self.collect()


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def record(path, pid, processes):
    """Write down which process it is: its id, and when it began, for ids are given again.

    `processes` is the folder /proc as it was: the machine has the same mounts as we by now, and puts its own there.
    """
    with open(f"{pid}/stat", opener=lambda name, flags: os.open(name, flags, dir_fd=processes)) as text:
        began = text.read().rpartition(")")[2].split()[19]
    draft = Path(f"{path}.draft")
    draft.write_text(json.dumps({"pid": pid, "began": began}))
    draft.rename(path)


def become_init(specification, ready):
    os.setsid()
    with Path(specification["log"]).open("ab") as log, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket.sethostname(specification["name"])
    mount("none", "/", flags=RECURSIVE | PRIVATE)
    mount("proc", "/proc", "proc", NO_SUID | NO_DEVICES | NO_EXECUTION)
    if specification.get("own"):
        prepare(specification["own"], specification["bound"])
        mount("none", "/", flags=RECURSIVE | SHARED)
    os.write(ready, b"1")
    os.close(ready)
    Init(specification["programs"]).run()


def main(path):
    specification = json.loads(Path(path).read_text())
    listener = None
    if specification.get("listen"):
        listener = socket.create_server(("127.0.0.1", specification["listen"]), backlog=128)
    with Path(specification["network"]).open() as network:
        check(libc.setns(network.fileno(), NEW_NETWORK), f"enter {specification['network']}")
    check(libc.unshare(NEW_SPACES), "make namespaces")
    processes, (heard, ready) = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY), os.pipe()
    child = os.fork()
    if child:
        os.close(ready)
        record(specification["record"], child, processes)
        if not os.read(heard, 1):
            sys.exit(f"it cannot be prepared:\n{Path(specification['log']).read_text()}")
        return
    os.close(heard)
    os.close(processes)
    if listener is not None:
        if listener.fileno() != LISTENER:
            os.dup2(listener.fileno(), LISTENER)
        specification["programs"] = [one | {"listens": one["name"] == "door"} for one in specification["programs"]]
    become_init(specification, ready)


if __name__ == "__main__":
    main(sys.argv[1])
