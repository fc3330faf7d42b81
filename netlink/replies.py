"""Which answer belongs to which request, where many requests share a socket and a datagram: numbers, outcomes, answers.

Only the last request of a datagram asks for an acknowledgement; errors come for each, and the sequence number says for which. What carries
another number is the late answer to something that nobody waits for any more. The channels of IPVS and of connection tracking read their
sockets by it; the sockets, and how long one waits, are theirs. Source: netlink(7).
"""

from collections.abc import Iterable
from typing import Final

from pointsman.netlink import codec
from pointsman.netlink.channel import kernel_error

_FIRST: Final = 0x10000
"""Sequence numbers from here on are ours; pyroute2's own requests on the same socket number below."""
_LAST: Final = 0xFFFFFFFF


class Numbers:
    """The sequence numbers of one socket."""

    def __init__(self) -> None:
        self._next = _FIRST

    def take(self, count: int) -> int:
        """Return the first of so many numbers in a row that nothing else has."""
        first = self._next if self._next + count <= _LAST else _FIRST
        self._next = first + count
        return first


def sort(messages: Iterable[codec.Message], first: int, count: int, failed: dict[int, int]) -> bool:
    """Put the errno of each request that failed to its place among `count`; return whether the last one is answered."""
    done = False
    for message in messages:
        place = message.sequence - first
        if message.type != codec.ERROR or not 0 <= place < count:
            continue
        if number := codec.error_number(message):
            failed[place] = number
        done = done or place == count - 1
    return done


def collect(messages: Iterable[codec.Message], sequence: int, subject: str, answers: list[memoryview]) -> bool:
    """Add the bodies of one request's answers; return whether these were all. Raises KernelError that names the subject."""
    for message in messages:
        if message.sequence != sequence:
            continue
        if message.type in (codec.ERROR, codec.DONE):
            if number := codec.error_number(message):
                raise kernel_error(number, subject)
            return True
        answers.append(message.body)
    return False
