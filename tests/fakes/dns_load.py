"""A steady load of DNS queries from one socket, in a thread of its own: every answer is missed by number, however late it comes."""

import threading
import time

import dns.message
from fakes.dns import query, roomy

PERIOD = 0.01


class Load:
    """Asks `name` of `server` `rate` times a second until stopped; `answers` counts the replies by what they say."""

    def __init__(self, sock, server, name, qtype="A", rate=5000):
        self.sock, self.server, self.rate = sock, server, rate
        self.answers = {}
        self.waits = []
        self._sent = {}
        self._wire = query(name, qtype).to_wire()[2:]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        sock.setblocking(False)
        roomy(sock)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @property
    def asked(self):
        return len(self.waits) + len(self._sent)

    def finish(self, seconds=30.0):
        """Ask no more; return how many queries have no answer after so long."""
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + seconds
        while self._sent and time.monotonic() < deadline:
            self._receive()
            time.sleep(PERIOD)
        return len(self._sent)

    def _run(self):
        number, due = 0, time.monotonic()
        while not self._stop.is_set():
            for _ in range(int(self.rate * PERIOD)):
                number = number % 65535 + 1
                try:
                    self.sock.sendto(number.to_bytes(2, "big") + self._wire, self.server)
                    self._sent[number] = time.monotonic()
                except OSError:  # an ICMP error of an earlier query is told here: that one stays unanswered
                    continue
            self._receive()
            due = max(due + PERIOD, time.monotonic() - 10 * PERIOD)
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self):
        while True:
            try:
                wire = self.sock.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                continue
            began = self._sent.pop(int.from_bytes(wire[:2], "big"), None)
            if began is not None:
                self.waits.append(time.monotonic() - began)
                key = wire[2:]
                self.answers[key] = self.answers.get(key, 0) + 1

    def said(self):
        """Return the values of the different replies, with how often each came."""
        found = {}
        for key, count in self.answers.items():
            reply = dns.message.from_wire(b"\0\0" + key)
            text = ",".join(sorted(str(one) for rrset in reply.answer for one in rrset)) or str(reply.rcode())
            found[text] = found.get(text, 0) + count
        return found
