"""First packets: what a new connection costs on its way through the rules. Runs inside the namespace; called by `run.py`.

Each packet is the first of a connection: UDP from a source port that was never used before. `sendto` returns when the packet has passed
output, address translation and loopback and lies in the receiver's queue, so its time is that of the way; the same call to an address
without rules is what the system call and the network itself cost.
"""

import itertools
import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence

NODE_IP = "192.0.2.10"
ROUNDS = 9
PACKETS = 400
FIRST_PORT = 20000
RECEIVE_BUFFER_FORCE = 33  # SO_RCVBUFFORCE of socket(7)


def microseconds(targets: Sequence[tuple[str, int]], ports: Iterator[int], receiver: socket.socket) -> float:
    """Return a packet's mean time in the quickest round, as the others were disturbed; every packet must arrive."""
    means = []
    for _ in range(ROUNDS):
        senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(PACKETS)]
        for sender, port in zip(senders, ports, strict=False):
            sender.bind((NODE_IP, port))
        goals = [targets[place % len(targets)] for place in range(PACKETS)]
        began = time.perf_counter()
        for sender, goal in zip(senders, goals, strict=True):
            sender.sendto(b"x", goal)
        means.append((time.perf_counter() - began) / PACKETS * 1e6)
        for sender in senders:
            receiver.recv(16)
            sender.close()
    return min(means)


def main(targets: Sequence[tuple[str, int]]) -> None:
    """Measure each group of targets, which are given as JSON; print the microseconds of each."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, 8 << 20)
        receiver.bind(("0.0.0.0", 8080))
        receiver.settimeout(5)
        print(json.dumps({"microseconds": microseconds(targets, itertools.count(FIRST_PORT), receiver)}))


if __name__ == "__main__":
    main([(str(address), int(port)) for address, port in json.loads(sys.argv[1])])
