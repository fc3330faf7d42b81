"""Names in the demonstration: found by their short forms, and not a query lost while one resolver follows the other."""

import pytest
from pointsman.proxy.demo import lookups, scene, session
from pointsman.proxy.demo.lookups import Lookups


@pytest.mark.kernel
async def test_every_name_is_found_and_no_query_is_lost(snapshot):
    said = []
    async with session.stage(snapshot, "iptables", "nft", said.append, dns=True) as stood:
        looked = await lookups.measure(stood.lab, scene.HOME, f"{scene.HOME}p1")
    assert looked.found == {**dict.fromkeys(lookups.NAMES[:3], ("10.96.10.1",)), "www.example.com": (lookups.OUTSIDE,)}
    assert (looked.steps["web"], looked.steps["web.shop"], looked.steps["www.example.com"]) == (1, 2, 4)
    assert looked.lost == 0
    assert looked.passed


def test_a_name_that_is_not_found_or_a_lost_query_fails_it():
    assert not Lookups({"web": ()}, {}, 10, 0).passed
    assert not Lookups({"web": ("10.96.10.1",)}, {"web": 1}, 10, 1).passed
