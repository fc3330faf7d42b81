"""Rules and sets of a family are watched as one, by the kernels of both modes (pain 42)."""

import asyncio

import pytest
from fakes.scratch import shell
from pointsman.iptables.kernel import is_our_chain
from pointsman.iptables.watches import Watches
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def watches(scratch, family, variant, writer):
    made = Watches(family, variant, writer, is_our_chain, lambda name: name.startswith("POINTSMAN-"))
    yield made
    made.close()


async def next_change(changes):
    async with asyncio.timeout(60):
        return (await anext(changes)).what


async def test_changes_of_both_kinds_are_told(watches, family, variant):
    tool = "iptables" if family is Family.IPV4 else "ip6tables"
    shell(f"{tool}-{variant.value} -t nat -N KUBE-SERVICES; ipset create POINTSMAN-X hash:ip; ipset add POINTSMAN-X 10.0.0.1")
    await watches.start()
    changes = watches.changes()
    shell("ipset flush POINTSMAN-X")
    assert "POINTSMAN-X" in await next_change(changes)
    shell(f"{tool}-{variant.value} -t nat -X KUBE-SERVICES")
    assert "nat" in await next_change(changes)
    await changes.aclose()


async def test_it_is_told_of_turns_until_it_is_closed(watches, writer):
    assert len(writer._bystanders) == 2
    await watches.start()
    async with writer.turn():
        pass
    watches.close()
    assert writer._bystanders == []


async def test_what_goes_wrong_with_the_sets_is_not_kept_silent(watches):
    async def broken():
        raise ArithmeticError("broken")

    watches._sets.follow = broken
    await watches.start()
    changes = watches.changes()
    with pytest.raises(ArithmeticError):
        async with asyncio.timeout(60):
            await anext(changes)
