"""How many queries one client may ask: a bucket of tokens per address, off unless it is asked for.

A query over the limit is dropped: an answer, even a refusal, would help who forges addresses. Buckets are kept for clients that asked
lately, in bounded memory; when there are too many, the oldest are forgotten, which gives those clients a full bucket again.
"""

from typing import Final

from pointsman.dns.tally import Tally

ROOM: Final = 20_000
LIMITED: Final = "pointsman_dns_rate_limited_total"


class Limits:
    """Tokens per client: `rate` per second, at most `burst` at once."""

    def __init__(self, rate: float, burst: float, tally: Tally) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[bytes, tuple[float, float]] = {}
        self._limited = tally.cell(LIMITED)

    def allow(self, client: bytes, now: float) -> bool:
        """Take a token of the client (packed address); False if he has none left."""
        tokens, since = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > ROOM:
            del self._buckets[next(iter(self._buckets))]
        if not allowed:
            self._limited[0] += 1
        return allowed
