"""Where the measuring happens: network namespaces made for it, an agent as a process of its own, and the tools called bare.

Namespaces carry the number of this process in their name and are removed in the end, whatever happened. The tools use a lock file of their
own, so that neither this machine's other users nor the measurement wait for each other.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import cluster
from msgspec import Struct

NODE_IP = "192.0.2.10"
PROGRAM = ("proxy.cli.run", "proxy.daemon", "proxy.modes", "proxy.dns.node", "proxy.cli.dns_serve", "proxy.dns.alone", "dns.resolver")
Json = dict[str, Any]


class BenchError(Exception):
    """The measurement cannot go on; the text says why."""


class Place(Struct, frozen=True):
    """A namespace to measure in, and the folder for its files."""

    name: str
    folder: Path

    def command(self, *words: str) -> list[str]:
        """Return a command line that runs a program there."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *words]

    def environment(self) -> dict[str, str]:
        """Return the environment of every program there."""
        return {**os.environ, **compiled(self.folder), "XTABLES_LOCKFILE": str(self.folder / "xtables.lock")}

    def run(self, *words: str, text: str = "") -> str:
        """Run a program there that must succeed; return what it prints."""
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, check=False, env=self.environment()
        )
        if done.returncode:
            raise BenchError(f"{' '.join(words)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
        return done.stdout

    def timed(self, *words: str, text: str) -> float:
        """Run a program there that must succeed; return how long it took, in seconds."""
        began = time.perf_counter()
        self.run(*words, text=text)
        return time.perf_counter() - began


def compiled(folder: Path) -> dict[str, str]:
    """Return the environment in which pointsman runs compiled, as in its image; its files are compiled into this folder."""
    return {"PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONDONTWRITEBYTECODE": "", "PYTHONSAFEPATH": "1"}


def compile_ahead(folder: Path) -> None:
    """Compile what an agent and a resolver consist of."""
    words = [sys.executable, "-c", "".join(f"import pointsman.{name}\n" for name in PROGRAM)]
    subprocess.run(words, env={**os.environ, **compiled(folder)}, check=True)


@contextmanager
def place(folder: Path, purpose: str) -> Iterator[Place]:
    """Give a new namespace: a node with one address, where every cluster IP is routed and every pod's address is local."""
    name = f"pm-bench-{os.getpid()}-{purpose}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        here = Place(name, folder)
        here.run("ip", "link", "set", "lo", "up")
        here.run("ip", "address", "add", f"{NODE_IP}/32", "dev", "lo")
        here.run("ip", "route", "add", "local", cluster.POD_CIDR, "dev", "lo")
        here.run("ip", "route", "add", "10.96.0.0/12", "dev", "lo", "src", NODE_IP)
        yield here
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


class Agent:
    """`pointsman run` as a process, and what its status socket says."""

    def __init__(self, here: Place, manifests: Path, variant: str) -> None:
        """Start it; `began` is the time just before, in seconds since the epoch."""
        self._socket = here.folder / f"{here.name}.sock"
        self._log = here.folder / f"{here.name}.log"
        words = [
            str(Path(sys.executable).parent / "pointsman"), "run", "--manifests", str(manifests), "--hostname-override", cluster.NODE,
            "--cluster-cidr", cluster.POD_CIDR, "--bind-address", NODE_IP, "--nodeport-addresses", "primary",
            "--iptables-variant", variant, "--socket", str(self._socket), "--healthz-bind-address", "127.0.0.1:10256",
        ]
        with self._log.open("ab") as log:
            self.began = time.time()
            self._process = subprocess.Popen(here.command(*words), stdout=log, stderr=log, env=here.environment())

    def status(self) -> Json | None:
        """Return the status document; None while nobody answers."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(60)
            try:
                asking.connect(str(self._socket))
                asking.sendall(b"GET /v1/status HTTP/1.0\r\nHost: bench\r\n\r\n")
                answer = b"".join(iter(lambda: asking.recv(65536), b""))
            except (FileNotFoundError, ConnectionError):
                return None
        head, _, body = answer.partition(b"\r\n\r\n")
        return dict(json.loads(body)) if b" 200 " in head.split(b"\r\n")[0] else None

    def until(self, reached: Callable[[Json], bool], *, interval: float = 0.005, limit: float = 420) -> Json:
        """Ask again and again until the status is as wanted; return it."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise BenchError(f"the agent ended with status {self._process.returncode}:\n{self.log()}")
            said = self.status()
            if said is not None and reached(said):
                return said
            time.sleep(interval)
        raise BenchError(f"the agent did not get there within {limit:g} s; its log ends:\n{self.log()}")

    def memory(self) -> tuple[float, float]:
        """Return resident memory now and at its peak, in MiB."""
        return resident(self._process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop it; its rules stay."""
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """Return the end of its log."""
        return self._log.read_text(errors="replace")[-3000:]


@contextmanager
def agent(here: Place, manifests: Path, variant: str) -> Iterator[Agent]:
    """Give a running agent and stop it in the end."""
    running = Agent(here, manifests, variant)
    try:
        yield running
    finally:
        running.stop()


def resident(pid: int | str) -> tuple[float, float]:
    """Return a process's resident memory now and at its peak, in MiB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def in_sync(said: Json) -> bool:
    """Return whether the kernel holds everything that is wanted, in every family."""
    families = said["families"]
    return bool(families) and all(
        one["revisionApplied"] is not None and one["revisionApplied"] == one["revisionWanted"] and not one["pendingKeys"]
        for one in families
    )


def synced_at(said: Json) -> float:
    """Return when the last family came in sync, in seconds since the epoch, by the agent's own clock."""
    return max(datetime.fromisoformat(one["inSyncSince"]).timestamp() for one in said["families"])


def total(said: Json, part: str, field: str) -> int:
    """Return a number of the status, summed over the families."""
    return sum(int(one[part][field]) for one in said["families"])


def child(script: str, arguments: Sequence[str], prefix: Sequence[str] = ()) -> Json:
    """Run a script of this folder as a process of its own; return the JSON that it prints."""
    words = [*prefix, sys.executable, str(Path(__file__).parent / script), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{script}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
