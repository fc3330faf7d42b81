"""The cache directive: CAC-01 and CAC-10 to CAC-18."""

import pytest
from fakes.corefiles import errors, options
from pointsman.dns.corefile.options import CacheOptions, Prefetch, ServeStale, Store


def cache(*lines):
    return options(CacheOptions, *lines)


def test_cac_10_a_number_sets_both_longest_ttls():
    made = cache("cache 30 example.org")
    assert (made.success.longest, made.denial.longest, made.zones) == (30, 30, ("example.org.",))


def test_cac_01_the_zones_are_the_block_s():
    assert cache("cache").zones == (".",)


def test_cac_11_21_capacities_are_cut_to_shards():
    made = cache("cache {", "success 10000 300 10", "denial 1 60", "}")
    assert made.success == Store(9984, 300, 10)
    assert made.denial == Store(1024, 60, 5)


def test_cac_13_prefetch():
    assert cache("cache {", "prefetch 10", "}").prefetch == Prefetch(10, 60, 10)
    assert cache("cache {", "prefetch 10 1h 25%", "}").prefetch == Prefetch(10, 3600, 25)
    assert cache("cache {", "prefetch 0", "}").prefetch is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serve_stale", ServeStale()),
        ("serve_stale 30m", ServeStale(1800)),
        ("serve_stale 1h immediate 30s 1m", ServeStale(3600, False, 0, 30, 60)),
        ("serve_stale verify", ServeStale(3600, True)),
        ("serve_stale 2h verify 500ms 10s 5m", ServeStale(7200, True, 0.5, 10, 300)),
    ],
)
def test_cac_14_serve_stale(text, expected):
    assert cache("cache {", text, "}").stale == expected


def test_cac_15_to_18():
    made = cache(
        "cache {",
        "servfail 0",
        "keepttl",
        "serve_stale",
        "serve_stale_policy prefer_positive",
        "disable success a.org",
        "disable denial",
        "}",
    )
    assert (made.servfail, made.keepttl, made.prefer_positive) == (0, True, True)
    assert (made.no_success, made.no_denial) == (("a.org.",), (".",))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("servfail 10m", "from 0s to 300s"),
        ("prefetch 10 1m 5%", "from 10 to 90"),
        ("prefetch 10 1m 20", "the last character"),
        ("serve_stale 1h sometimes", "immediate or verify"),
        ("serve_stale 1h immediate 1s 10m", "at most 5m"),
        ("success 10 5 60", "longer than the longest"),
        ("disable everything", "success or denial"),
        ("serve_stale_policy prefer_positive", "needs serve_stale"),
        ("success", "Wrong argument count"),
    ],
)
def test_what_is_wrong_is_told(text, part):
    (found,) = errors(f".:53 {{\n cache {{\n  {text}\n }}\n}}")
    assert part in found[1]
