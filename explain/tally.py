"""Traffic per Service port as metrics: totals that only grow, for a bounded number of names. Pure.

The kernel's counters begin anew when a chain or a server is made anew, so what is added is the difference between two readings. A metric
per Service port of ten thousand would burden whoever stores it: the busiest hundred get a name of their own, and keep it as long as they
are there; all others share one (`OTHERS`). Nothing counts that passed before the first reading.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct
from pointsman.explain.traffic import Row

LIMIT: Final = 100
"""So many Service ports have a name of their own."""

OTHERS: Final = ("", "others", "", "")


class Total(Struct):
    """What passed a Service port since the first reading, and how unevenly its endpoints are used (1.0 is even, None without traffic)."""

    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    skew: float | None = None


Name = tuple[str, str, str, str]
"""Namespace, Service, port name, protocol."""


class Tally:
    """Adds up readings."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._totals: dict[Name, Total] = {}
        self._last: dict[tuple[str, str], tuple[int, int, int]] = {}
        self._begun = False

    @property
    def totals(self) -> Mapping[Name, Total]:
        """Return the totals by name, as copies."""
        return {name: Total(one.connections, one.bytes_in, one.bytes_out, one.skew) for name, one in self._totals.items()}

    def read(self, rows: Iterable[Row]) -> None:
        """Take a reading: a row per Service port, the busiest first; rows of endpoints are passed over."""
        last: dict[tuple[str, str], tuple[int, int, int]] = {}
        for row in rows:
            if row.endpoint:
                continue
            key, now = (row.service, row.protocol), (row.connections, row.bytes_in or 0, row.bytes_out or 0)
            then = self._last.get(key, (0, 0, 0) if self._begun else now)
            last[key] = now
            added = tuple(new - old if new >= old else new for new, old in zip(now, then, strict=True))
            name = name_of(row)
            total = self._totals.get(name)
            if total is None:
                total = self._totals.setdefault(name if self._named() < self._limit else OTHERS, Total())
            total.connections += added[0]
            total.bytes_in += added[1]
            total.bytes_out += added[2]
            if name in self._totals:
                total.skew = row.skew
        kept = {name_of_key(key) for key in last} | {OTHERS}
        self._totals = {name: total for name, total in self._totals.items() if name in kept}
        self._last, self._begun = last, True

    def _named(self) -> int:
        return len(self._totals) - (OTHERS in self._totals)


def name_of(row: Row) -> Name:
    """Return the labels of a row."""
    return name_of_key((row.service, row.protocol))


def name_of_key(key: tuple[str, str]) -> Name:
    """Return the labels of a Service port's text (`namespace/name:port`) and protocol."""
    service, protocol = key
    place, _, port = service.partition(":")
    namespace, _, name = place.partition("/")
    return namespace, name, port, protocol
