"""The mix of questions that `make bench-dns` asks, and the upstream behind them.

70 % are what search paths make of external names, which do not exist; 20 % are Services, 5 % headless Services and SRV, 5 % external names.
Everything follows from a seed, so that both resolvers are asked the same.
"""

import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

NAMESPACE = "bench"
HEADLESS = 200
QUESTIONS = 50_000
EXTERNAL = [f"{host}{number}.example.com" for number in range(100) for host in ("api", "www", "cdn", "auth", "db")]
SEARCH = ("{}.{}.svc.cluster.local", "{}.svc.cluster.local", "{}.cluster.local")


def questions(services: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Yield names and types."""
    dice = random.Random(seed)
    for _ in range(QUESTIONS):
        share = dice.random()
        external = dice.choice(EXTERNAL)
        if share < 0.70:
            yield dice.choice(SEARCH).format(external, NAMESPACE), dice.choice(("A", "AAAA"))
        elif share < 0.90:
            yield f"service-{dice.randrange(services)}.{NAMESPACE}.svc.cluster.local", dice.choice(("A", "A", "AAAA"))
        elif share < 0.93:
            yield f"headless-{dice.randrange(HEADLESS)}.{NAMESPACE}.svc.cluster.local", "A"
        elif share < 0.95:
            yield f"_http._tcp.service-{dice.randrange(services)}.{NAMESPACE}.svc.cluster.local", "SRV"
        else:
            yield external, "A"


def write(path: Path, services: int, *, only_external: bool = False) -> None:
    """Write the questions as dnsperf reads them."""
    wanted = ((name, "A") for name in EXTERNAL) if only_external else questions(services)
    path.write_text("".join(f"{name} {qtype}\n" for name, qtype in wanted))


def upstream(address: str, port: int) -> None:
    """Answer every question by one address for 300 s, for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        while True:
            message, client = sock.recvfrom(4096)
            end = message.index(b"\x00", 12) + 5
            kind = message[end - 4 : end - 2]
            record = b"\xc0\x0c" + kind + b"\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01" if kind == b"\x00\x01" else b""
            counts = b"\x00\x01" + (b"\x00\x01" if record else b"\x00\x00") + bytes(4)
            sock.sendto(message[:2] + b"\x81\x80" + counts + message[12:end] + record, client)


if __name__ == "__main__":
    upstream(sys.argv[1], int(sys.argv[2]))
