"""hosts, template, rewrite, acl, autopath: what they may say."""

import pytest
from fakes.corefiles import errors, loaded, options
from pointsman.dns.corefile import options as kinds
from pointsman.dns.corefile.options import AnswerRewrite, Fallthrough, NameMatch
from pointsman.dns.corefile.places import Field


def rule(text):
    return options(kinds.RewriteOptions, text).rules[0]


def wrong(*lines):
    return errors(".:53 {\n" + "\n".join(lines) + "\n}")


def test_hosts_with_lines_of_its_own():
    made = options(
        kinds.HostsOptions, "hosts {", "192.0.2.1 a.example b.example", "2001:db8::1 a.example", "ttl 60", "no_reverse", "fallthrough", "}"
    )
    assert made.file == "/etc/hosts"
    assert made.inline == ("192.0.2.1 a.example b.example", "2001:db8::1 a.example")
    assert (made.ttl, made.no_reverse, made.fallthrough) == (60, True, Fallthrough())


def test_hosts_lines_stand_before_fallthrough():
    assert wrong("hosts {", "fallthrough", "192.0.2.1 a.example", "}") == [
        (4, "unknown property '192.0.2.1' of hosts: lines of hosts stand before fallthrough: move it up")
    ]
    assert "no name" in wrong("hosts {", "192.0.2.1", "}")[0][1]


def test_hosts_file_and_zones():
    made = options(kinds.HostsOptions, "hosts /x/hosts example.org {", "reload 0", "}")
    assert (made.file, made.zones, made.reload) == ("/x/hosts", ("example.org.",), 0)


def test_template():
    made = options(
        kinds.TemplateOptions, "template IN A example.org {", r"match ^a\. ^b\.", 'answer "{{ .Name }} 60 IN A 192.0.2.1"',
        "rcode NXDOMAIN", 'ederror 17 "why"', "fallthrough example.org", "}",
    )  # fmt: skip
    assert (made.rclass, made.rtype, made.zones, made.matches) == (1, 1, ("example.org.",), (r"^a\.", r"^b\."))
    assert made.records == (kinds.TemplateRecord("answer", (Field("Name"), " 60 IN A 192.0.2.1")),)
    assert (made.rcode, made.ederror, made.fallthrough) == (3, (17, "why"), Fallthrough(("example.org.",)))


@pytest.mark.parametrize("text", ["var x group('a')", "expr true", 'answer "{{ .Meta \\"x\\" }}"', "match ((", "rcode NOPE", "ederror x"])
def test_cor_30_template_refuses_what_it_cannot_do(text):
    assert [line for line, _ in wrong("template IN A .  {", text, "}")] == [3]


@pytest.mark.parametrize(
    ("text", "match", "to", "answers"),
    [
        ("rewrite name A.example b.example", NameMatch("exact", "a.example."), "b.example.", (AnswerRewrite("auto"),)),
        ("rewrite name exact a.example. b.example", NameMatch("exact", "a.example."), "b.example.", (AnswerRewrite("auto"),)),
        ("rewrite name suffix .a .b answer auto", NameMatch("suffix", ".a."), ".b.", (AnswerRewrite("auto"),)),
        ("rewrite name prefix a- b-", NameMatch("prefix", "a-."), "b-.", ()),
        ("rewrite name substring x y", NameMatch("substring", "x."), "y.", ()),
        (r"rewrite name regex (.*)\.a {1}.b", NameMatch("regex", r"(.*)\.a"), "{1}.b.", ()),
        (
            r"rewrite name regex (.*)\.a {1}.b answer name (.*)\.b {1}.a value (.*)\.c {1}.d",
            NameMatch("regex", r"(.*)\.a"), "{1}.b.",
            (AnswerRewrite("name", r"(.*)\.b", "{1}.a."), AnswerRewrite("value", r"(.*)\.c", "{1}.d.")),
        ),
    ],
)  # fmt: skip
def test_rewrite_of_names(text, match, to, answers):
    made = rule(text)
    assert (made.match, made.to, made.answers, made.further) == (match, to, answers, False)


def test_rewrite_of_the_rest():
    assert rule("rewrite continue ttl example.org 30-300").numbers == (30, 300)
    assert rule("rewrite ttl example.org -30").numbers == (0, 30)
    assert rule("rewrite ttl example.org 30-").numbers == (30, 2**31 - 1)
    assert rule("rewrite ttl example.org 30").numbers == (30, 30)
    assert rule("rewrite rcode suffix example.org SERVFAIL 0").numbers == (2, 0)
    assert rule("rewrite type ANY HINFO").numbers == (255, 13)
    assert rule("rewrite class CH IN").numbers == (3, 1)
    assert rule("rewrite cname a.example b.example").to == "b.example."
    assert rule("rewrite continue name a.example b.example").further


def test_a_rule_may_be_spread_over_a_block():
    made = options(kinds.RewriteOptions, "rewrite stop {", r"name regex (.*)\.a {1}.b", r"answer name (.*)\.b {1}.a", "}").rules[0]
    assert made.answers == (AnswerRewrite("name", r"(.*)\.b", "{1}.a."),)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("rewrite", "needs a field"),
        ("rewrite edns0 local set 0xffee x", "supported by CoreDNS, not by this resolver"),
        ("rewrite answer name a b", "must begin with a name rule"),
        ("rewrite colour a b", "invalid rule type"),
        ("rewrite name fuzzy a b", "exact, prefix, suffix, substring, regex"),
        ("rewrite name regex (( b", "not a regular expression"),
        ("rewrite name exact a b answer both", "auto, name FROM TO or value FROM TO"),
        ("rewrite name regex a {1}.b", "uses 1 groups, and its pattern has 0"),
        ("rewrite name a.example {1}", "uses 1 groups, and its pattern has 0"),
        (r"rewrite name regex (.*)\.a {1}.b answer name (.*)\.b {1}{2}.a", "uses 2 groups, and its pattern has 1"),
        (r"rewrite name suffix .a .b answer auto answer name (.*)\.b {1}.a", "cannot be combined"),
        ("rewrite ttl a.example soon", "invalid TTL"),
        ("rewrite ttl a.example 30-3", "from the smaller to the larger"),
        ("rewrite type A", "Wrong argument count"),
        ("rewrite rcode a.example SERVFAIL NOPE", "is not a response code"),
    ],
)
def test_rewrite_tells_what_is_wrong(text, part):
    assert part in wrong(text)[0][1]


def test_cor_30_parts_of_names_are_taken_for_whole_names_and_that_is_said():
    """As CoreDNS does; README and code of it differ there, and a Corefile whose rule never worked must not change answers."""
    rules = ("name prefix foo- bar-", "ttl substring xx 5", "cname suffix .a .b", "name prefix www. w.", "cname prefix a- b-")
    found = loaded(".:53 {\n rewrite " + "\n rewrite ".join(rules) + "\n}").findings
    assert [(one.place.line, one.error) for one in found] == [(2, False), (3, False), (4, False)]
    assert "fits no target" in found[2].text
    assert "is for 'foo-.' with the dot, as in CoreDNS" in found[0].text


def test_old_and_free_spellings():
    made = options(kinds.TemplateOptions, "template IN A . {", 'answer "a. IN A 192.0.2.1" "a. IN A 192.0.2.2"', "upstream", "}")
    assert len(made.records) == 2
    found = loaded(".:53 {\n template IN A . {\n  upstream\n }\n}").findings
    assert [(one.place.line, one.error) for one in found] == [(3, False)]
    made = options(kinds.AclOptions, "acl {", "Block TYPE ANY Net 192.0.2.1", "}")
    assert made.rules == (kinds.AclRule("block", frozenset({255}), ("192.0.2.1/32",)),)


def test_hosts_hands_on_unsupported_types_only_with_fallthrough():
    assert "requires fallthrough" in wrong("hosts {", "fallthrough_unsupported", "}")[0][1]


def test_wir_61_acl():
    made = options(
        kinds.AclOptions, "acl example.org {", "allow net 10.0.0.1/8 fd00::/8", "filter type AAAA", "block type A net *", "drop", "}"
    )
    assert made.zones == ("example.org.",)
    assert made.rules == (
        kinds.AclRule("allow", frozenset(), ("10.0.0.0/8", "fd00::/8")), kinds.AclRule("filter", frozenset({28})),
        kinds.AclRule("block", frozenset({1})), kinds.AclRule("drop"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("deny net *", "unexpected token 'deny'"),
        ("block 10.0.0.0/8", "unexpected token"),
        ("block net x", "illegal CIDR"),
        ("block net", "no token specified"),
        ("block type XX", "is not a record type"),
    ],
)
def test_acl_tells_what_is_wrong(text, part):
    assert part in wrong("acl {", text, "}")[0][1]


def test_src_10_autopath():
    made = options(kinds.AutopathOptions, "autopath example.org /etc/resolv.conf")
    assert (made.zones, made.source) == (("example.org.",), "/etc/resolv.conf")
    assert "only @kubernetes" in wrong("autopath @erratic")[0][1]
    assert "needs kubernetes in the same block" in wrong("autopath @kubernetes")[0][1]
    found = loaded(".:53 {\n autopath @kubernetes\n kubernetes a.org\n}")
    assert "pods verified" in found.findings[0].text
