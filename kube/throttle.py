"""How often the API server may be asked: a bucket of requests that fills steadily (CFG-07).

Pure: `reserve` takes the time and returns how long to wait. A request that has to wait has its place, so those behind it wait longer and
nobody starves. `client` sleeps; time is monotonic, in seconds.
"""


class Throttle:
    """At most `burst` requests at once, and `qps` per second in the long run. A rate below zero means no limit, zero the default of 5."""

    def __init__(self, qps: float = 5.0, burst: int = 10) -> None:
        self._rate = qps if qps != 0 else 5.0
        self._burst = float(max(1, burst or 10))
        self._tokens = self._burst
        self._at: float | None = None

    def reserve(self, now: float) -> float:
        """Take a place and return after how many seconds the request may be sent."""
        if self._rate < 0:
            return 0.0
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate) - 1.0
        return max(0.0, -self._tokens / self._rate)
