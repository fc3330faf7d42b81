"""A Corefile as a whole: the Corefiles of the field, overlaps, the fingerprint, and everything that is wrong at once."""

from pathlib import Path

import pytest
from fakes.corefiles import corefile, errors, loaded
from pointsman.dns.corefile.files import read
from pointsman.dns.corefile.findings import CorefileError
from pointsman.dns.corefile.options import BindOptions, CacheOptions, ForwardOptions, KubernetesOptions, LogOptions

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.Corefile"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_corefiles_of_the_field_load_unchanged(path):
    """kubeadm, EKS, k3s, AKS, Gardener, OpenShift, NodeLocal's four blocks, stub domains, and what users add."""
    found = read(str(path), {})
    assert not [str(one) for one in found.findings if one.error]
    assert found.corefile is not None


def test_kubeadm_means_what_it_says():
    made = read(str(Path(__file__).parent / "fixtures" / "kubeadm.Corefile"), {}).must().blocks[0]
    kubernetes, cache, forward = made.one(KubernetesOptions), made.one(CacheOptions), made.one(ForwardOptions)
    assert (kubernetes.ttl, kubernetes.pods, kubernetes.fallthrough.zones) == (30, "insecure", ("in-addr.arpa.", "ip6.arpa."))
    assert (cache.success.longest, cache.no_success, cache.no_denial) == (30, ("cluster.local.",), ("cluster.local.",))
    assert (forward.max_concurrent, forward.upstreams[0].file) == (1000, "/etc/resolv.conf")


def test_nodelocal_has_four_blocks_on_two_addresses():
    made = read(str(Path(__file__).parent / "fixtures" / "nodelocal.Corefile"), {}).must()
    assert [block.keys[0].zone for block in made.blocks] == ["cluster.local.", "in-addr.arpa.", "ip6.arpa.", "."]
    assert {block.addresses for block in made.blocks} == {("169.254.20.10", "10.96.0.10")}
    assert made.blocks[0].one(ForwardOptions).force_tcp


def test_cor_30_everything_wrong_is_told_at_once():
    found = errors(
        ".:53 {\n proxy . x\n cache {\n  success 0\n  bogus\n }\n kubernetes in-addr.arpa\n frob\n"
        " forward . 192.0.2.1 {\n  policy x\n }\n}\ntls://. {\n}\n"
    )
    assert [line for line, _ in found] == [2, 4, 5, 7, 8, 10, 13]


def test_cor_11_the_same_key_twice():
    assert "already defined at Corefile:1" in errors("a.org {\n whoami\n}\na.org:53 {\n whoami\n}")[0][1]
    assert "stands twice in one block" in errors("a.org a.org:53 {\n whoami\n}")[0][1]
    assert not errors("a.org {\n whoami\n}\na.org:54 {\n whoami\n}")
    assert not errors("a.org {\n bind 127.0.0.1\n whoami\n}\na.org {\n bind 127.0.0.2\n whoami\n}")


def test_cor_11_bound_and_unbound_listeners_of_one_port():
    assert "serves it on all addresses" in errors("a.org {\n bind 127.0.0.1\n whoami\n}\na.org {\n whoami\n}")[0][1]


def test_cor_10_a_listener_that_is_not_plain_dns_is_refused():
    assert "only plain DNS is listened for" in errors("https://a.org {\n whoami\n}")[0][1]


def test_obs_50_the_fingerprint_is_of_what_is_meant():
    one = corefile(".:53 {\n import x\n}", files={"x": "whoami # comment\n"})
    same = corefile("# more\n.:53 {\n\n  import x\n}", files={"x": "whoami\n"})
    other = corefile(".:53 {\n import x\n}", files={"x": "log\n"})
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 128


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "(snippet) {\n log\n}\n"])
def test_a_corefile_without_a_server_block_is_an_error(text):
    """CoreDNS serves whoami then, for every name: a file that was cut, or is just being written, would take a node's DNS down."""
    (found,) = loaded(text).findings
    assert found.error
    assert "Corefile:1 - Error during parsing: there is no server block" in str(found)


def test_an_unusable_corefile_says_so_when_it_must_be_used():
    with pytest.raises(CorefileError, match="Corefile:2 - Error during parsing"):
        loaded(".:53 {\n frob\n}").must()


def test_settings_are_found_in_all_blocks():
    made = corefile("a.org {\n cache 1\n bind ::1\n}\nb.org {\n cache 2\n}")
    assert [one.success.longest for one in made.all(CacheOptions)] == [1, 2]
    assert made.one(BindOptions).addresses == ("::1",)
    assert made.one(LogOptions) is None
