"""A resolver process of its own, with its sockets and the agent's end of its feed."""

import os
import socket
import subprocess
import sys

import dns.message
import dns.query
from pointsman.dns import feed
from pointsman.dns.feed import Listener, Start, Unframer, for_agent, frame

COREFILE = """.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        startup_timeout 60s
    }
    loadbalance
}
"""


def both():
    """Return a socket of UDP and a listening one of TCP on one port of loopback: what is free for one may be taken for the other."""
    while True:
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            udp.bind(("127.0.0.1", 0))
            tcp.bind(udp.getsockname())
            tcp.listen(64)
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp


class Running:
    """The process; `with` ends it."""

    def __init__(self, folder, corefile=COREFILE, **start):
        self.path = folder / "Corefile"
        self.path.write_text(corefile)
        self.udp, self.tcp = both()
        self.port = self.udp.getsockname()[1]
        self.line, theirs = socket.socketpair()
        self.line.settimeout(60)
        sockets = (self.udp, self.tcp, theirs)
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pointsman.dns.resolver", "--feed", str(theirs.fileno())],
            pass_fds=[one.fileno() for one in sockets], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        theirs.close()
        self._unframer, self._said = Unframer(), []
        listeners = tuple(Listener(one.fileno(), kind, "127.0.0.1", self.port, 53) for one, kind in ((self.udp, "udp"), (self.tcp, "tcp")))
        self.tell(Start(listeners, str(self.path), everywhere=True, **start))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        for one in (self.line, self.udp, self.tcp):
            one.close()

    def tell(self, *values):
        for value in values:
            self.line.sendall(frame(value))

    def hear(self):
        while not self._said:
            received = self.line.recv(65536)
            assert received, self.process.stdout.read().decode()
            self._said += self._unframer.bodies(received)
        return for_agent(self._said.pop(0))

    def ask(self, name, qtype="A", *, tcp=False):
        query = dns.query.tcp if tcp else dns.query.udp
        return query(dns.message.make_query(name, qtype), "127.0.0.1", port=self.port, timeout=60)

    def told(self, what, name="", qtype="A", client=""):
        self.tell(feed.Ask(7, what, name, qtype, client))
        return self.hear()

    def ended(self):
        """Wait for its end; return the exit status and what it printed."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode()
