"""Numbers of elements are read from what a kernel said, and asked for in a way that a kernel understands."""

from contextlib import suppress

import pytest
from fakes.scratch import namespace, shell
from hypothesis import given
from hypothesis import strategies as st
from pointsman.netlink import codec, ipsets, nftables
from pointsman.netlink.channel import Channel
from pointsman.netlink.codec import NESTED, MalformedError, attribute


def told(name, *inner):
    """Return a message about a set."""
    body = bytes(4) + attribute(1, b"\7") + attribute(2, name.encode() + b"\0") + attribute(7 | NESTED, b"".join(inner))
    return codec.Message(ipsets.LIST, 0, 1, 0, memoryview(body))


def test_each_set_has_a_number():
    answers = [told("A", attribute(25 | 0x4000, bytes(4)), attribute(24 | 0x4000, (70_000).to_bytes(4))), told("B")]
    assert ipsets.sizes(answers) == {"A": 70_000, "B": -1}


def test_a_message_without_a_name_or_with_half_a_number_is_malformed():
    with pytest.raises(MalformedError, match="no name"):
        ipsets.sizes([codec.Message(ipsets.LIST, 0, 1, 0, memoryview(bytes(4)))])
    with pytest.raises(MalformedError, match="2 bytes, not 4"):
        ipsets.sizes([told("A", attribute(24, b"ab"))])


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body):
    with suppress(MalformedError):
        ipsets.sizes([codec.Message(ipsets.LIST, 0, 1, 0, memoryview(body))])


@pytest.mark.kernel
async def test_the_kernel_tells_the_sizes_of_all_sets():
    with namespace(), Channel(nftables.PROTOCOL) as channel:
        shell("ipset create some hash:ip; ipset add some 10.0.0.1; ipset add some 10.0.0.2; ipset create none hash:ip,port family inet6")
        shell("ipset create ports bitmap:port range 1-20; ipset add ports 7")
        answers = await channel.request(ipsets.LIST, ipsets.HEADERS, "sets", flags=codec.DUMP)
        assert ipsets.sizes(answers) == {"some": 2, "none": 0, "ports": 1}
