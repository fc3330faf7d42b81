"""Outcomes and answers find their requests by number; late answers to others are passed over."""

import errno
import struct

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec, replies

KIND = 0x123


def error(sequence: int, number: int = 0) -> bytes:
    return codec.encode(codec.ERROR, 0, sequence, struct.pack("=i", -number))


def read(*parts: bytes):
    return codec.messages(b"".join(parts))


def test_numbers_follow_each_other_and_begin_anew_before_they_end():
    numbers = replies.Numbers()
    first = numbers.take(3)
    assert numbers.take(1) == first + 3
    numbers.take(0xFFFFFFFF - first - 4)
    assert numbers.take(1) == first


def test_errors_find_their_places_and_the_last_answer_ends_the_datagram():
    failed: dict[int, int] = {}
    assert not replies.sort(read(error(9, errno.EPERM), error(10, errno.ENOENT), error(11)), 10, 3, failed)
    assert failed == {0: errno.ENOENT}
    assert replies.sort(read(codec.encode(KIND, 0, 12, b""), error(12, errno.EEXIST), error(13, errno.EPERM)), 10, 3, failed)
    assert failed == {0: errno.ENOENT, 2: errno.EEXIST}


def test_only_an_error_message_answers_the_last_request():
    assert not replies.sort(read(codec.encode(KIND, 0, 12, b"")), 10, 3, {})


@pytest.mark.parametrize("end", [error(7), codec.encode(codec.DONE, 0, 7, struct.pack("=i", 0))])
def test_answers_are_collected_until_the_end_mark(end):
    answers: list[memoryview] = []
    assert not replies.collect(read(codec.encode(KIND, 0, 7, b"one!"), codec.encode(KIND, 0, 6, b"late")), 7, "x", answers)
    assert replies.collect(read(codec.encode(KIND, 0, 7, b"two!"), end), 7, "x", answers)
    assert [bytes(one) for one in answers] == [b"one!", b"two!"]


def test_an_error_of_the_request_is_raised_with_its_subject():
    with pytest.raises(KernelError) as caught:
        replies.collect(read(error(6, errno.EPERM), error(7, errno.ENOENT)), 7, "the subject", [])
    assert caught.value.kind is ErrorKind.MISSING
    assert caught.value.subject == "the subject"
