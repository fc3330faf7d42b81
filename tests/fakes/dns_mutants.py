"""Broken DNS messages, any number of them, always the same: real queries cut, stretched, spliced and bitten by a seeded dice."""

import random

import dns.message
from dns.edns import ECSOption, GenericOption

NAMES = [
    "web.shop.svc.cluster.local",
    "_http._tcp.web.shop.svc.cluster.local",
    "db-0.db.shop.svc.cluster.local",
    "10-1-2-3.shop.pod.cluster.local",
    "7.0.0.10.in-addr.arpa",
    "example.com.shop.svc.cluster.local",
    "cluster.local",
    "dns-version.cluster.local",
    "ns.dns.cluster.local",
    "many.example",
    "big.example",
    "fixed.example",
    ".",
    ".".join(["a" * 62] * 3),
    ".".join("abcdefghij" * 6),
]
TYPES = ["A", "AAAA", "SRV", "PTR", "TXT", "SOA", "NS", "ANY", "HTTPS", "AXFR", "CNAME"]
SIZES = (0, 512, 1232, 65535)
CORPUS = [
    bytes(12),
    b"\x00\x00\x01\x00\x00\x01" + bytes(6),
    b"\x00\x00\x01\x00\x00\x01" + bytes(6) + b"\xc0\x0c\x00\x01\x00\x01",
    b"\x00\x00\x01\x00\x00\x01" + bytes(6) + b"\x01a\xc0\x0c\x00\x01\x00\x01",
    b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x02" + b"\x00\x00\x01\x00\x01" + b"\x00\x00\x29" + bytes(8) + b"\x00\x00\x29" + bytes(8),
    b"\x00\x00\x01\x00\x00\x01" + bytes(6) + b"\x3f" + b"\x00" * 63 + b"\x00\x00\x01\x00\x01",
    b"\xff" * 512,
    b"\x00\x00\x01\x00" + b"\xff" * 60,
    b"\x00\x00\x01\x00\x00\x01" + bytes(6) + b"\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01",
    b"\x00\x00\x01\x00\x00\x01" + bytes(6) + b"\x05\x00\x00\x00\x00\x00\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01",
    (b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00\x00\x01\x00\x01\x00\x00\x29\xff\xff\x00\x00\x80\x00\xff\xff"
     b"\x00\x0a\xff\xff"),
]
"""What has been of interest once: pointers to themselves, promised records, zero bytes in labels, lengths beyond the end."""


def seeds():
    """Return whole queries of many shapes."""
    found = [dns.message.make_query(name, qtype, id=0).to_wire() for name in NAMES for qtype in TYPES]
    for options in ([], [GenericOption(10, b"12345678")], [ECSOption("10.0.0.0", 8)], [GenericOption(3, b"")]):
        found += [dns.message.make_query(NAMES[0], "A", id=0, use_edns=0, payload=size, options=options).to_wire() for size in SIZES]
    return [*found, *CORPUS]


def mutants(number, seed=1):
    """Yield so many broken messages, among them some that are whole."""
    dice = random.Random(seed)
    whole = seeds()
    for _ in range(number):
        message = bytearray(dice.choice(whole))
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 8))):
            _bite(message, dice, whole)
        yield bytes(message)


def _bite(message, dice, whole):
    at = dice.randrange(len(message) + 1)
    match dice.randrange(7):
        case 0 if message:
            message[at % len(message)] = dice.randrange(256)
        case 1 if message:
            message[at % len(message)] ^= 1 << dice.randrange(8)
        case 2:
            del message[at:]
        case 3:
            message[at:at] = dice.randbytes(dice.randrange(1, 40))
        case 4:
            other = dice.choice(whole)
            message[at:] = other[dice.randrange(len(other)) :]
        case 5 if len(message) >= 12:
            message[4 + 2 * dice.randrange(4) + 1] = dice.choice((0, 1, 2, 3, 255))
        case _:
            message[at:at] = dice.choice((b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\x00", b"\x3f", b"\x00\x00\x29" + bytes(8)))
