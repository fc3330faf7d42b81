"""Which Services have an address: the index behind reverse names, a hundred thousand endpoints in 2 MB. Pure.

A dict would take five times as much. So Services are numbered, and an address with the number of its Service is a row of bytes. Rows lie in
buckets of some twenty, by a remainder of the address; a bucket is one `bytes`, searched as such, and made anew when a row comes or goes.
Addresses of the two families have different lengths, so each has its own buckets.

`catalog` keeps two, one of cluster IPs and one of endpoints.
"""

from array import array
from typing import Final

BUCKETS: Final = 4093
_NUMBER: Final = 4
_IPV4: Final = 4
_IPV6: Final = 16
_BEYOND: Final = 1 << 128


def number(address: bytes) -> int:
    """Return the number that stands for a packed address; no two addresses share one."""
    value = int.from_bytes(address, "big")
    return value if len(address) == _IPV4 else value | _BEYOND


class Owners:
    """The keys of the Services that have each address, by its number."""

    def __init__(self) -> None:
        self._buckets = [b""] * (2 * BUCKETS)
        self._numbers: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._uses = array("I")
        self._free: list[int] = []

    def of(self, address: int) -> tuple[bytes, ...]:
        """Return the keys of the Services that have this address, the longest known first."""
        place, raw = _place(address)
        bucket, width = self._buckets[place], len(raw) + _NUMBER
        found = []
        at = _find(bucket, raw, 0, width)
        while at >= 0:
            found.append(self._keys[int.from_bytes(bucket[at + len(raw) : at + width], "big")])
            at = _find(bucket, raw, at + width, width)
        return tuple(found)

    def add(self, address: int, key: bytes) -> None:
        """Note that the Service has the address."""
        owner = self._numbers.get(key)
        if owner is None:
            owner = self._number(key)
        place, raw = _place(address)
        row = raw + owner.to_bytes(_NUMBER, "big")
        bucket = self._buckets[place]
        if _find(bucket, row, 0, len(row)) < 0:
            self._buckets[place] = bucket + row
            self._uses[owner] += 1

    def drop(self, address: int, key: bytes) -> None:
        """Note that it has it no longer."""
        owner = self._numbers.get(key)
        if owner is None:
            return
        place, raw = _place(address)
        row = raw + owner.to_bytes(_NUMBER, "big")
        bucket = self._buckets[place]
        at = _find(bucket, row, 0, len(row))
        if at >= 0:
            self._buckets[place] = bucket[:at] + bucket[at + len(row) :]
            self._uses[owner] -= 1
            if not self._uses[owner]:
                del self._numbers[key]
                self._keys[owner] = b""
                self._free.append(owner)

    def _number(self, key: bytes) -> int:
        """Give a Service a number, one that is free if there is one."""
        if self._free:
            owner = self._free.pop()
            self._keys[owner] = key
        else:
            owner = len(self._keys)
            self._keys.append(key)
            self._uses.append(0)
        self._numbers[key] = owner
        return owner


def _place(address: int) -> tuple[int, bytes]:
    """Return the bucket of an address, and its bytes."""
    if address < _BEYOND:
        return address % BUCKETS, address.to_bytes(_IPV4, "big")
    return BUCKETS + address % BUCKETS, (address - _BEYOND).to_bytes(_IPV6, "big")


def _find(bucket: bytes, wanted: bytes, start: int, width: int) -> int:
    """Return where a row begins with these bytes, -1 if none does; they may also lie across two rows."""
    at = bucket.find(wanted, start)
    while at >= 0 and at % width:
        at = bucket.find(wanted, at + 1)
    return at
