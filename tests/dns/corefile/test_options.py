"""Settings: their defaults are CoreDNS's."""

from fakes.corefiles import NOWHERE
from pointsman.dns.corefile import options


def test_rec_13_to_20_kubernetes_begins_as_coredns_does():
    made = options.KubernetesOptions(place=NOWHERE, zones=("cluster.local.",))
    assert (made.ttl, made.pods, made.fallthrough, made.endpoints, made.startup_timeout) == (5, "disabled", None, True, 5.0)


def test_fwd_10_to_19_forward_begins_as_coredns_does():
    made = options.ForwardOptions(place=NOWHERE, zone=".", upstreams=())
    assert (made.policy, made.max_fails, made.health_interval, made.expire, made.read_timeout) == ("random", 2, 0.5, 10.0, 2.0)
    assert (made.max_concurrent, made.force_tcp, made.prefer_udp, made.max_attempts) == (0, False, False, None)


def test_cac_10_to_16_the_cache_begins_as_coredns_does():
    made = options.CacheOptions(place=NOWHERE, zones=(".",))
    assert (made.success.capacity, made.success.longest, made.success.shortest) == (9984, 3600, 5)
    assert (made.denial.capacity, made.denial.longest, made.denial.shortest) == (9984, 1800, 5)
    assert (made.servfail, made.prefetch, made.stale, made.keepttl) == (5.0, None, None, False)


def test_settings_are_values():
    one = options.LoopOptions(place=NOWHERE)
    assert one == options.LoopOptions(place=NOWHERE)
    assert hash(one) == hash(options.LoopOptions(place=NOWHERE))
