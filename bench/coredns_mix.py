"""The questions that `make bench-dns` asks, and the upstream behind them.

The mix: 70 % are what search paths make of external names, which do not exist; 20 % are Services, 5 % headless Services and SRV, 5 %
external names. `fill` asks for as many external names as a cache keeps by default, once each, and then for ever new names that do not
exist. Everything follows from a seed, so that both resolvers are asked the same.
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
KEPT = 9984
"""Successes and denials that a cache keeps by default, each."""
OTHERS = 100_000
"""Names that are asked once and twice when the cache is full."""
MISSING = "no"
"""How names begin that the upstream denies."""
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


def fill(seed: int = 2) -> Iterator[tuple[str, str]]:
    """Yield what fills a cache, and then names of search paths and below, all different."""
    for number in range(KEPT):
        yield f"host{number}.some-domain-{number}.example.com", "A"
        yield f"{MISSING}{number}.some-domain-{number}.example.com", "A"
    dice = random.Random(seed)
    for _ in range(OTHERS):
        yield dice.choice(SEARCH).format(f"{dice.getrandbits(60):x}.example.com", NAMESPACE), "A"


def write(folder: Path, services: int) -> None:
    """Write the questions as dnsperf reads them: the files `mix`, `external`, `fill`, and `last` with the last Service."""
    wanted = {
        "mix": questions(services), "external": ((name, "A") for name in EXTERNAL), "fill": fill(),
        "last": [(f"service-{services - 1}.{NAMESPACE}.svc.cluster.local", "A")],
    }  # fmt: skip
    for name, asked in wanted.items():
        (folder / name).write_text("".join(f"{question} {qtype}\n" for question, qtype in asked))


def upstream(address: str, port: int) -> None:
    """Answer every question by one address for 300 s, or deny it as long, for ever."""
    soa = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x01\x2c\x00\x24\x02ns\x00\x0ahostmaster\x00" + (300).to_bytes(4, "big") * 5
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((address, port))
        while True:
            message, client = sock.recvfrom(4096)
            end = message.index(b"\x00", 12) + 5
            kind = message[end - 4 : end - 2]
            if message[13 : 13 + len(MISSING)] == MISSING.encode():
                sock.sendto(message[:2] + b"\x81\x83\x00\x01\x00\x00\x00\x01\x00\x00" + message[12:end] + soa, client)
                continue
            record = b"\xc0\x0c" + kind + b"\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01" if kind == b"\x00\x01" else b""
            counts = b"\x00\x01" + (b"\x00\x01" if record else b"\x00\x00") + bytes(4)
            sock.sendto(message[:2] + b"\x81\x80" + counts + message[12:end] + record, client)


if __name__ == "__main__":
    upstream(sys.argv[1], int(sys.argv[2]))
