"""Counts of requests to the API server, as client-go counts them (MET-15): by method, code and host; and how long they took.

`kube.client` tells of each request; `metrics` reads. There is one host and a handful of methods, so nothing here grows.
"""

from collections import Counter

from pointsman.proxy.histogram import REQUEST_BOUNDS, Histogram


class Requests:
    """What was asked since the start."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()  # method, code, host
        self.durations: dict[tuple[str, str], Histogram] = {}  # method, host

    def observe(self, method: str, code: str, host: str, seconds: float) -> None:
        """Note a request; `kube.client.RequestObserver`."""
        self.counts[method, code, host] += 1
        if (method, host) not in self.durations:
            self.durations[method, host] = Histogram.of(REQUEST_BOUNDS)
        self.durations[method, host].observe(seconds)
