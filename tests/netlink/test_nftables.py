"""nftables events: what was touched and by whom, from the kernel's own messages and from any bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.netlink import codec, nftables
from pointsman.netlink.nftables import Generation, Touch, What


def event(number, family, *parts):
    body = bytes([family, 0, 0, 0]) + b"".join(codec.attribute(kind, payload) for kind, payload in parts)
    return codec.encode(10 << 8 | number, 0, 0, body)


def test_tables_chains_and_rules_are_told_others_passed_over():
    datagram = (
        event(0, 2, (1, b"nat\0"))
        + event(5, 2, (1, b"nat\0"), (2, bytes(8)), (3, b"KUBE-SVC-X\0"))
        + event(6, 10, (1, b"filter\0"), (2, b"INPUT\0"), (3, bytes(8)))
        + event(12, 2, (1, b"nat\0"))
        + event(15, 0, (1, struct.pack(">I", 7)), (2, struct.pack(">I", 4711)), (3, b"firewalld\0"))
        + codec.encode(10 << 8 | 200, 0, 0, bytes(4))
    )
    assert list(nftables.events(datagram)) == [
        Touch(2, What.TABLE, False, "nat", ""),
        Touch(2, What.CHAIN, True, "nat", "KUBE-SVC-X"),
        Touch(10, What.RULE, False, "filter", "INPUT"),
        Generation(7, 4711, "firewalld"),
    ]


def test_an_old_kernel_does_not_name_the_process():
    assert list(nftables.events(event(15, 0, (1, struct.pack(">I", 9))))) == [Generation(9, 0, "")]


def test_a_number_of_another_size_is_malformed():
    with pytest.raises(codec.MalformedError, match="not 4"):
        list(nftables.events(event(15, 0, (1, b"abc"))))


@given(st.integers(0, 16), st.binary(max_size=60))
def test_any_body_gives_events_or_malformed(number, body):
    try:
        for found in nftables.events(codec.encode(10 << 8 | number, 0, 0, body)):
            assert isinstance(found, Touch | Generation)
    except codec.MalformedError:
        pass


def test_a_transaction_is_framed_and_its_request_alone_is_acknowledged():
    found = list(codec.messages(nftables.transaction(nftables.DELETE_TABLE, nftables.one_table(10, "t"), 7)))
    assert [(one.type, one.flags, one.sequence) for one in found] == [(0x10, 1, 7), (10 << 8 | 2, 5, 7), (0x11, 1, 7)]
    assert [bytes(one.body) for one in found[::2]] == [b"\0\0\0\x0a"] * 2
    assert found[1].body[0] == 10
    assert nftables.table_name(found[1]) == "t"


def test_a_message_without_a_table_is_malformed():
    with pytest.raises(codec.MalformedError, match="no name"):
        nftables.table_name(next(codec.messages(event(0, 2))))
