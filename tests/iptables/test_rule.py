"""The rule language: text as the tools print it, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables import rule
from pointsman.iptables.rule import Match, Rule, parse
from pointsman.routing.route import Family, Protocol

LINES = [
    "-j KUBE-DST",
    '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
    "-m mark ! --mark 0x4000/0x4000 -j RETURN",
    "! -s 10.244.0.0/16 -m set --match-set POINTSMAN-CLUSTER-IP dst -j KUBE-MARK-MASQ",
    "! -i veth+ -j KUBE-MARK-MASQ",
    '-d 10.96.0.58/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-67NZLRHBNDSAWJRO',
    "-p tcp -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.9.0.5:8080",
    "-j MARK --set-xmark 0x4000/0x0",
    '-m comment --comment "other traffic to shop/web will be dropped by KUBE-PROXY-FIREWALL"',
    "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    "-o eth0 -j MASQUERADE --random-fully",
    "",
]


@pytest.mark.parametrize("line", LINES)
def test_a_printed_line_survives_reading(line):
    assert str(parse(line)) == line


WORDS = st.text("abcXYZ0189-./,", min_size=1, max_size=8).filter(lambda w: not w.startswith("-"))
MATCHES = st.one_of(
    st.builds(rule.noted, st.text("ab /:,.>-", min_size=1, max_size=20)),
    st.builds(lambda a, b: Match("mark", ("!", f"--{a}", b)), WORDS, WORDS),
    st.builds(lambda name, a: Match(name, (f"--{a}",)), WORDS, WORDS),
)
PARTS = st.one_of(st.just(""), WORDS, WORDS.map("! {}".format))


RULES = st.builds(Rule, *[PARTS] * 5, st.lists(MATCHES, max_size=3).map(tuple), WORDS, st.lists(WORDS, max_size=2).map(tuple))


@given(RULES)
def test_reading_what_was_written_gives_the_same_rule(made):
    assert parse(str(made)) == made


@pytest.mark.parametrize("line", ["-s", "-j", "-m", "! -d", "--dport 80", "-p tcp --dport 80"])
def test_a_line_that_is_no_rule_is_refused(line):
    with pytest.raises(ValueError, match="rule"):
        parse(line)


@given(st.text(max_size=400))
def test_no_name_can_break_out_of_its_comment(text):
    written = rule.comment(text)
    assert "\n" not in written
    assert len(rule.comment_text(text)) <= 255
    assert not set(rule.comment_text(text)) & set("\"'\\`$\n\0")
    if rule.comment_text(text):
        assert parse(written).matches == (rule.noted(text),)


def test_chances_are_rounded_as_the_kernel_rounds_them():
    assert rule.chance(1) == ""
    assert rule.chance(2) == "-m statistic --mode random --probability 0.50000000000 "
    assert rule.chance(3) == "-m statistic --mode random --probability 0.33333333349 "


@given(st.integers(2, 100_000))
def test_a_printed_chance_is_a_fixed_point(one_of):
    printed = rule.chance(one_of).split()[-1]
    assert f"{round(float(printed) * 2**31) / 2**31:.11f}" == printed


@pytest.mark.parametrize(("address", "printed"), [
    ("10.0.0.1", "10.0.0.1/32"), ("fd00::1", "fd00::1/128"), ("::1", "::1/128"), ("::", "::/128"),
    ("::ffff:a00:1", "::ffff:10.0.0.1/128"), ("::a00:1", "::10.0.0.1/128"), ("::ffff", "::ffff/128"), ("::1:0:0", "::1:0:0/128"),
])
def test_hosts_are_printed_as_the_c_library_prints_them(address, printed):
    assert rule.host(address) == printed


def test_networks_lose_their_host_bits_and_the_whole_family_its_name():
    assert rule.network("10.244.3.7/16") == "10.244.0.0/16"
    assert rule.network("fd00::7/64") == "fd00::/64"
    assert rule.network("0.0.0.0/0") == rule.network("::/0") == ""


def test_sem_23_refusals_are_port_unreachable_in_both_families():
    assert rule.unreachable(Family.IPV4) == "icmp-port-unreachable"
    assert rule.unreachable(Family.IPV6) == "icmp6-port-unreachable"


def test_ports_of_each_protocol():
    assert rule.ports(Protocol.SCTP, 80) == Match("sctp", ("--dport", "80"))
    assert rule.ports(Protocol.UDP, 0, 63) == Match("udp", ("--dport", "0:63"))
