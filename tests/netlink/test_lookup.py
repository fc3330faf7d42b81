import struct

import pytest
from fakes.scratch import namespace, shell
from pointsman.netlink import codec
from pointsman.netlink.lookup import interface, leads, question


def answer(body):
    return codec.Message(24, 0, 1, 0, memoryview(body))


def test_a_question_names_the_address_with_its_whole_length():
    assert question("10.0.0.1") == bytes([2, 32]) + bytes(10) + struct.pack("=HH", 8, 1) + bytes([10, 0, 0, 1])
    assert question("fd00::1")[:2] == bytes([10, 128])


def test_an_answer_names_the_interface_or_none():
    assert interface(answer(bytes(12) + codec.attribute(4, struct.pack("=I", 7)))) == 7
    assert interface(answer(bytes(12))) == 0
    with pytest.raises(codec.MalformedError):
        interface(answer(b"123"))


@pytest.mark.kernel
async def test_the_kernel_says_where_packets_go_out():
    with namespace():
        shell("ip link add v0 type veth peer name v1; ip link set v0 up; ip addr add 10.1.0.1/24 dev v0")
        assert await leads(["10.1.0.9", "192.0.2.1", "127.0.0.1"]) == {"10.1.0.9": "v0", "127.0.0.1": "lo"}
