"""CoreDNS's counters of queries, kept so that a query from the hot table costs one addition (OBS-03 to OBS-08, OBS-25).

All queries that are counted alike share a `Flow`. The hot table counts hits per entry and brings them here now and then (`Flow.count` with
a number of times); everything else is counted at once. How long an answer from the table took is not measured one by one: the mean over the
batches since the last time stands for all of them.

`Top` keeps which names are asked most, in bounded memory.
"""

from typing import Final

from pointsman.dns.tally import Cell, Histogram, Tally

REQUESTS: Final = "coredns_dns_requests_total"
RESPONSES: Final = "coredns_dns_responses_total"
DURATION: Final = "coredns_dns_request_duration_seconds"
REQUEST_SIZE: Final = "coredns_dns_request_size_bytes"
RESPONSE_SIZE: Final = "coredns_dns_response_size_bytes"
DO: Final = "coredns_dns_do_requests_total"
PANICS: Final = "coredns_panics_total"

DURATIONS: Final = tuple(0.00025 * 2**k for k in range(16))
"""Bounds of every time that is told in CoreDNS's name, seconds (OBS-04, OBS-13)."""
SIZES: Final = (0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16000.0, 32000.0, 48000.0, 64000.0)

TYPES: Final = {
    1: "A", 28: "AAAA", 15: "MX", 6: "SOA", 5: "CNAME", 2: "NS", 12: "PTR", 16: "TXT", 33: "SRV", 43: "DS", 48: "DNSKEY",
    46: "RRSIG", 47: "NSEC", 50: "NSEC3", 65: "HTTPS", 64: "SVCB", 251: "IXFR", 252: "AXFR", 255: "ANY",
}  # fmt: skip
RCODES: Final = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET",
    9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS", 23: "BADCOOKIE",
}  # fmt: skip
DROPPED: Final = "dropped"


class Flow:
    """Where queries of one kind are counted."""

    __slots__ = ("_do", "_duration", "_request", "_requests", "_response", "_responses")

    def __init__(self, cells: tuple[Cell, Cell, Cell | None], histograms: tuple[Histogram, Histogram, Histogram]) -> None:
        self._requests, self._responses, self._do = cells
        self._request, self._response, self._duration = histograms

    def count(self, times: int, request: int, response: int, seconds: float) -> None:
        """Count queries of one size that were answered by replies of one size, each in so many seconds."""
        self._requests[0] += times
        self._responses[0] += times
        if self._do is not None:
            self._do[0] += times
        self._request.observe(request, times)
        self._response.observe(response, times)
        self._duration.observe(seconds, times)


class Books:
    """The flows of one listener; `server` is its label, `proto` udp or tcp, `family` 1 or 2 (OBS-01)."""

    def __init__(self, tally: Tally, server: str, proto: str, family: str) -> None:
        self._tally = tally
        self._labels = (server, proto, family)
        self._flows: dict[tuple[str, int, int, str, bool], Flow] = {}
        self.panics = tally.cell(PANICS)

    def flow(self, zone: str, qtype: int, rcode: int, plugin: str, *, do: bool = False) -> Flow:
        """Return where queries of this kind are counted."""
        key = (zone, qtype if qtype in TYPES else 0, rcode, plugin, do)
        found = self._flows.get(key)
        if found is None:
            found = self._flows[key] = self._made(*key)
        return found

    def _made(self, zone: str, qtype: int, rcode: int, plugin: str, do: bool) -> Flow:
        tally, (server, proto, family) = self._tally, self._labels
        place = (server, zone or DROPPED, "")
        cells = (
            tally.cell(REQUESTS, *place, proto, family, TYPES.get(qtype, "other")),
            tally.cell(RESPONSES, *place, RCODES.get(rcode, str(rcode)), plugin),
            tally.cell(DO, *place) if do else None,
        )
        return Flow(
            cells,
            (
                tally.histogram(REQUEST_SIZE, SIZES, *place, proto),
                tally.histogram(RESPONSE_SIZE, SIZES, *place, proto),
                tally.histogram(DURATION, DURATIONS, *place),
            ),
        )


class Top:
    """The keys that came most often; rare ones are forgotten when there are too many."""

    def __init__(self, room: int = 2000) -> None:
        self._room = room
        self._counts: dict[bytes, int] = {}

    def count(self, key: bytes, times: int = 1) -> None:
        """Count a key."""
        counts = self._counts
        counts[key] = counts.get(key, 0) + times
        if len(counts) > 2 * self._room:
            kept = [item for item in counts.items() if item[1] > 1]
            if len(kept) > self._room:  # rarely: most of many names came once, and sorting takes a millisecond
                kept = sorted(kept, key=lambda item: item[1], reverse=True)[: self._room]
            self._counts = {name: number // 2 for name, number in kept}

    def most(self, number: int = 20) -> list[tuple[bytes, int]]:
        """Return the leading keys with their counts."""
        return sorted(self._counts.items(), key=lambda item: item[1], reverse=True)[:number]
