"""What a Corefile needs to be told, and whether that is read."""

import pytest
from fakes.corefiles import corefile
from pointsman.dns.needs import needs, unmet

PLAIN = "kubernetes cluster.local"


def block(*lines):
    return corefile(".:53 {\n" + "".join(f"    {line}\n" for line in lines) + "}\n")


def with_option(option):
    return block(f"{PLAIN} {{", option, "}")


def test_what_needs_no_more_is_taken():
    assert unmet(block("whoami"), needs(block("whoami"))) == ""
    assert unmet(block("whoami"), needs(block(PLAIN))) == ""
    assert unmet(with_option("pods insecure"), needs(with_option("pods verified"))) == ""
    assert unmet(with_option("labels a=b"), needs(with_option("labels a=b"))) == ""


@pytest.mark.parametrize(("before", "after", "text"), [
    (block("whoami"), block(PLAIN), "Corefile:2: `kubernetes`"),
    (block(PLAIN), with_option("pods verified"), "`pods verified`"),
    (block(PLAIN), with_option("labels a=b"), "`labels a=b`"),
    (with_option("labels a=b"), block(PLAIN), "`labels` that is left out"),
    (block(PLAIN), with_option("namespace_labels team=a"), "`namespace_labels team=a`"),
    (block(PLAIN), with_option("kubeconfig /other"), "`kubeconfig /other"),
    (block(PLAIN), block("autopath @kubernetes", PLAIN), "Corefile:2: `autopath @kubernetes`"),
])  # fmt: skip
def test_what_needs_more_is_named_with_its_place(before, after, text):
    found = unmet(after, needs(before))
    assert text in found
    assert "than is read" in found
