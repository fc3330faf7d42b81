"""Generic netlink families: asked for by name, numbered by the kernel."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec, generic
from pointsman.netlink.channel import Channel
from pointsman.netlink.codec import attribute


@pytest.mark.kernel
async def test_the_controller_knows_itself():
    with Channel(generic.PROTOCOL) as channel:
        (answer,) = await channel.request(generic.CONTROLLER, generic.ask("nlctrl"), "nlctrl")
    family = generic.family(answer.body)
    assert (family.name, family.number) == ("nlctrl", generic.CONTROLLER)
    assert "notify" in family.groups


@pytest.mark.kernel
async def test_a_family_that_no_module_has_is_missing():
    with Channel(generic.PROTOCOL) as channel, pytest.raises(KernelError, match="nobody") as caught:
        await channel.request(generic.CONTROLLER, generic.ask("nobody"), "family nobody")
    assert caught.value.kind is ErrorKind.MISSING


@pytest.mark.parametrize("name", ["", "x" * 16])
def test_a_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(ValueError, match="1 to 15 bytes"):
        generic.ask(name)


def answer(*parts):
    return bytes(4) + b"".join(parts)


NAME = attribute(2, b"IPVS\0")
NUMBER = attribute(1, struct.pack("=H", 28))


def test_a_family_without_groups_is_read():
    assert generic.family(answer(NAME, NUMBER)) == generic.GenericFamily("IPVS", 28, 0, {})


@pytest.mark.parametrize(
    "body",
    [answer(NAME), answer(NUMBER), answer(NAME, attribute(1, b"x")), answer(NAME, NUMBER, attribute(7, attribute(1, b"")))],
)
def test_an_answer_that_lacks_something_is_malformed(body):
    with pytest.raises(codec.MalformedError):
        generic.family(body)


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_a_family_or_malformed(raw):
    try:
        found = generic.family(answer(NAME, NUMBER) + raw)
    except codec.MalformedError:
        return
    assert isinstance(found, generic.GenericFamily)
