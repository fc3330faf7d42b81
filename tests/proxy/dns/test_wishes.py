"""What a Corefile wants to be read."""

import pytest
from pointsman.dns.corefile.files import read
from pointsman.kube.resource import EVERYTHING
from pointsman.proxy.dns.wishes import WishError, Wishes, wishes


@pytest.fixture
def wanted(tmp_path):
    def from_text(*blocks):
        text = "".join(f"zone{n}.test {{\n  kubernetes zone{n}.test {{\n    {block}\n  }}\n}}\n" for n, block in enumerate(blocks))
        (tmp_path / "Corefile").write_text(text or ".:53 {\n  whoami\n}\n")
        return wishes(read(str(tmp_path / "Corefile")).must())

    return from_text


def test_without_kubernetes_nothing_is_read(wanted):
    assert wanted() == Wishes()


def test_rec_07_everything_is_read_unless_a_selector_says_otherwise(wanted):
    assert wanted("ttl 5").selectors == EVERYTHING
    assert not wanted("ttl 5").restricted


def test_rec_09_selectors_are_the_servers(wanted):
    found = wanted("labels app in (a, b)", "labels app in (a, b)")
    assert found.restricted
    assert found.selectors.services == found.selectors.slices == "app in (a, b)"
    assert wanted("namespace_labels team=a").selectors.namespaces == "team=a"


def test_blocks_that_select_differently_are_refused_with_their_place(wanted):
    with pytest.raises(WishError, match=r"Corefile:\d+: kubernetes: labels differs"):
        wanted("labels a=b", "labels a=c")


def test_pods_are_read_where_answers_need_them(wanted):
    assert wanted("pods verified").all_pods
    assert not wanted("pods insecure").all_pods


def test_ext_01_imports_are_read_for_multicluster(wanted):
    assert wanted("ttl 5", "multicluster zone1.test").imports
    assert not wanted("ttl 5").imports


def test_rec_20_the_longest_patience_counts(wanted):
    assert wanted("startup_timeout 1s", "startup_timeout 7s").patience == 7.0
