"""Requests to the API server, counted as client-go counts them."""

from pointsman.proxy.requests import Requests


def test_met_15_requests_are_counted_by_method_code_and_host_and_timed_by_method() -> None:
    requests = Requests()
    requests.observe("GET", "200", "10.96.0.1:443", 0.02)
    requests.observe("GET", "200", "10.96.0.1:443", 0.3)
    requests.observe("GET", "<error>", "10.96.0.1:443", 15.0)
    requests.observe("POST", "201", "10.96.0.1:443", 0.001)
    counts = {key[:2]: count for key, count in requests.counts.items()}
    assert counts == {("GET", "200"): 2, ("GET", "<error>"): 1, ("POST", "201"): 1}
    assert requests.durations["GET", "10.96.0.1:443"].total == 3
    assert requests.durations["POST", "10.96.0.1:443"].buckets()[0] == ("0.005", 1.0)
