import pytest
from msgspec.structs import replace
from pointsman.iptables.matching import Flight, Place, chance
from pointsman.iptables.rule import parse
from pointsman.iptables.setlist import saved_sets

PLACE = Place(frozenset({"192.168.50.1"}), saved_sets(["create S hash:ip,port family inet", "add S 10.96.0.1,tcp:80"]))
FLIGHT = Flight("10.244.1.5", "10.96.0.1", "tcp", 80, went_in="pod5", goes_out="eth0", mark=0x4000)


@pytest.mark.parametrize(("text", "odds"), [
    ("-s 10.244.0.0/16 -j A", 1.0),
    ("! -s 10.244.0.0/16 -j A", 0.0),
    ("-d 0.0.0.1/0.0.0.15 -j A", 1.0),
    ("-d 0.0.0.2/0.0.0.15 -j A", 0.0),
    ("-p tcp -j A", 1.0),
    ("! -p tcp -j A", 0.0),
    ("! -p udp -j A", 1.0),
    ("-i pod+ -j A", 1.0),
    ("! -i pod+ -j A", 0.0),
    ("-o eth1 -j A", 0.0),
    ("-p tcp -m tcp --dport 80 -j A", 1.0),
    ("-p tcp -m tcp ! --dport 80 -j A", 0.0),
    ("-p tcp -m multiport --dports 22,70:90 -j A", 1.0),
    ("-p tcp -m tcp --sport 22 -j A", 0.0),
    ("-p tcp -m tcp --sport 40000 -j A", None),
    ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j A", 1.0),
    ("-m conntrack --ctstate NEW -j A", 1.0),
    ("-m conntrack --ctstate RELATED,ESTABLISHED -j A", 0.0),
    ("-m conntrack ! --ctstate DNAT -j A", 1.0),
    ("-m mark --mark 0x4000/0x4000 -j A", 1.0),
    ("-m mark ! --mark 0x4000/0x4000 -j A", 0.0),
    ("-m addrtype --src-type LOCAL -j A", 0.0),
    ("-m addrtype ! --dst-type LOCAL -j A", 1.0),
    ("-m set --match-set S dst,dst -j A", 1.0),
    ("-m set ! --match-set S dst,dst -j A", 0.0),
    ("-m set --match-set ABSENT dst -j A", None),
    ("-m statistic --mode random --probability 0.25 -j A", 0.25),
    ("-m statistic --mode nth --every 4 --packet 0 -j A", 0.25),
    ("-m recent --rcheck --seconds 10 --name X -j A", 0.0),
    ("-m recent --set --name X -j A", 1.0),
    ("-m limit --limit 1/sec -j A", None),
    ("-s 192.0.2.1/32 -m limit --limit 1/sec -j A", 0.0),
    ("-m ipvs ! --ipvs -j A", 1.0),
    ('-m comment --comment "x" -j A', 1.0),
])  # fmt: skip
def test_a_rule_takes_a_packet_or_not_or_by_chance_or_nobody_knows(text, odds):
    assert chance(parse(text), FLIGHT, PLACE) == odds


@pytest.mark.parametrize(("text", "odds"), [
    ("-m mark --mark 0x4000/0x4000 -j A", None),
    ("-m mark ! --mark 0x4000/0x4000 -j A", None),
    ("-m mark --mark 0x1/0x4001 -j A", 0.0),
    ("-m mark ! --mark 0x1/0x4001 -j A", 1.0),
    ("-m mark --mark 0x0/0x8000 -j A", 1.0),
])  # fmt: skip
def test_bits_that_are_not_certain_are_no_answer_unless_the_others_settle_it(text, odds):
    assert chance(parse(text), replace(FLIGHT, hazy=((0x4000, "why"), (0x100, "why"))), PLACE) == odds


def test_an_interface_that_is_not_known_is_no_answer():
    unknown = Flight("10.244.1.5", "10.96.0.1", "tcp", 80, went_in=None)
    assert chance(parse("-i eth0 -j A"), unknown, PLACE) is None


def test_other_families_do_not_match():
    assert chance(parse("-s fd00::/8 -j A"), FLIGHT, PLACE) == 0.0
