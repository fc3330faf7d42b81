"""Addresses by interface."""

from pointsman.proxy.dns.interfaces import interfaces


async def test_loopback_has_its_address():
    assert "127.0.0.1" in (await interfaces())["lo"]
