"""The table of connections, as kernels print it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.ipvs import connections
from pointsman.ipvs.connections import Connection, parse

LONG = "fd00:0000:0000:0000:0000:0000:0000:000"
PRINTED = f"""\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A000001 C350 0A600001 0050 0AF40107 1F90 ESTABLISHED     890
UDP FD000000000000000000000000000001 C350 0A600001 0050 0AF40107 1F90 UDP 3
TCP {LONG}5 9C40 {LONG}1 0050 {LONG}7 1F90 TIME_WAIT 119
TCP 0A000001 0000 0A600001 0050 0AF40107 1F90 ASSURED     10800
IP  0A000001 0000 00000007 0000 0AF40107 0000 NONE        299 sip a@b
"""


def test_connections_templates_and_both_families_are_read():
    table = parse(PRINTED.splitlines())
    assert table.connections[0] == Connection("TCP", "10.0.0.1", 50000, "10.96.0.1", 80, "10.244.1.7", 8080, "ESTABLISHED", 890)
    assert table.connections[1].client == "fd00::5"
    assert [one.template for one in table.connections] == [False, False, True, True]
    assert table.unreadable == 1


def test_connections_of_one_virtual_server_are_without_templates():
    (one,) = connections.of_virtual(parse(PRINTED.splitlines()), "10.96.0.1", 80, "TCP")
    assert one.state == "ESTABLISHED"


@given(st.lists(st.text(max_size=80), max_size=6))
@settings(max_examples=100, deadline=None)
def test_whatever_is_printed_is_read_or_counted(lines):
    table = parse(lines)
    assert len(table.connections) + table.unreadable <= len(lines)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_cut_or_flipped_line_never_raises(data):
    line = list(PRINTED.splitlines()[data.draw(st.integers(1, 3))])
    for place in data.draw(st.lists(st.integers(0, len(line) - 1), max_size=3)):
        line[place] = data.draw(st.characters())
    table = parse(["".join(line)[: data.draw(st.integers(0, len(line)))]])
    assert len(table.connections) + table.unreadable <= 1
