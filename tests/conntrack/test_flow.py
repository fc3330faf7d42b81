"""Flows in the words of `conntrack -L`."""

from fakes.flows import TCP, flow
from msgspec.structs import replace
from pointsman.conntrack.flow import Counters, Status, place


def test_a_flow_says_where_it_was_sent_and_where_it_goes():
    one = flow("10.96.0.10:53", "10.2.0.7:5353", "10.5.0.1:40000", back="172.20.0.1:2000")
    assert (one.frontend, one.backend, one.client) == ("10.96.0.10:53", "10.2.0.7:5353", "10.5.0.1:40000")
    assert one.translated
    assert one.masqueraded
    assert one.protocol_name == "udp"


def test_what_goes_where_it_was_sent_is_not_translated():
    assert not flow("10.2.0.7:53", "10.2.0.7:53").translated
    assert flow("10.2.0.7:53", "10.2.0.7:54").translated


def test_a_line_is_that_of_conntrack():
    one = flow(protocol=TCP, status=Status.ASSURED, state="ESTABLISHED")
    assert one.line() == (
        "tcp      6 100 ESTABLISHED src=10.5.0.1 dst=10.96.0.10 sport=40000 dport=53 [UNREPLIED]"
        " src=10.2.0.7 dst=10.5.0.1 sport=53 dport=40000 [ASSURED] mark=0 use=0"
    )


def test_a_line_has_counters_and_zone_where_there_are_any():
    one = replace(flow(zone=5), sent=Counters(2, 56), returned=Counters(1, 28), timeout=-1)
    assert "dport=53 packets=2 bytes=56 src=" in one.line()
    assert one.line().endswith("packets=1 bytes=28 mark=0 zone=5 use=0")
    assert one.line().startswith("udp      17 src=")


def test_a_place_has_brackets_in_ipv6():
    assert place("fd00::1", 53) == "[fd00::1]:53"
    assert place("10.0.0.1", 53) == "10.0.0.1:53"
