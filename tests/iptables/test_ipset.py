"""Only our sets are listed, and what was written is read back."""

import pytest
from fakes.scratch import shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import ipset
from pointsman.iptables.run import run
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel


async def test_only_our_sets_of_the_family_are_listed(scratch):
    shell("ipset create OTHERS hash:ip; ipset create POINTSMAN-X hash:ip maxelem 1048576; ipset create POINTSMAN-6-X hash:ip family inet6")
    shell("ipset add POINTSMAN-X 10.0.0.1; ipset add OTHERS 10.0.0.2")
    assert await ipset.ours(Family.IPV4) == ("POINTSMAN-X",)
    assert await ipset.ours(Family.IPV6) == ("POINTSMAN-6-X",)
    created, added = await ipset.saved(Family.IPV4)
    assert created.startswith("create POINTSMAN-X hash:ip family inet ")
    assert "maxelem 1048576" in created
    assert added == "add POINTSMAN-X 10.0.0.1"


async def test_nothing_there(scratch):
    assert await ipset.saved(Family.IPV4) == []


async def test_ipvs_41_more_elements_than_the_kernels_default(scratch):
    """A set of the kernel's default size refuses the 65,537th element; ours take them."""
    addresses = [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in range(70_000)]
    text = "create POINTSMAN-X hash:ip maxelem 1048576\n" + "".join(f"add POINTSMAN-X {address}\n" for address in addresses)
    assert (await run(ipset.restore_command(), text)).status == 0
    assert (await run(ipset.restore_command(), text)).status == 0
    assert len(await ipset.saved(Family.IPV4)) == 70_001


async def test_pain_41_a_missing_program_is_named(monkeypatch):
    monkeypatch.setattr(ipset, "find_program", lambda _: None)
    with pytest.raises(KernelError, match="install the Debian package ipset") as caught:
        await ipset.ours(Family.IPV4)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
