"""The names that CoreDNS's metrics of upstreams had before 1.11, for dashboards and alerts that still ask for them. Pure.

Until then `forward` counted by itself; since then the connections' part counts for whoever uses it, with one more label. Much of what is in
use (coredns-mixin, dashboards of distributions) asks for the old names only, and stays empty beside a CoreDNS of today. They are made of
the new ones when somebody asks, so they cost nothing per query.

`text` writes them. Names of before CoreDNS 1.7 are not offered.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pointsman.dns.tally import Sample

ANSWERS: Final = "coredns_proxy_request_duration_seconds"
PROBES: Final = "coredns_proxy_healthcheck_failures_total"
DURATION: Final = "coredns_forward_request_duration_seconds"
REQUESTS: Final = "coredns_forward_requests_total"
RESPONSES: Final = "coredns_forward_responses_total"
FAILURES: Final = "coredns_forward_healthcheck_failures_total"
OWNER: Final = "forward"
"""The label `proxy_name` of what `forward` asked."""


def former(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield what samples say under the former names; nothing for those that had no other."""
    for each in samples:
        if each.labels[:1] != (OWNER,):
            continue
        labels = each.labels[1:]
        if each.metric == ANSWERS:
            count = (sum(each.values[:-1]),)
            yield Sample(DURATION, labels, each.values, each.bounds)
            yield Sample(RESPONSES, labels, count)
            yield Sample(REQUESTS, labels[:1], count)
        elif each.metric == PROBES:
            yield Sample(FAILURES, labels, each.values)
