import pytest
from msgspec import structs
from pointsman.proxy.config import Config, family_of, split_host_port
from pointsman.routing.route import Family


def test_cfg_20_each_mode_has_its_periods_and_its_mark() -> None:
    config = Config(
        sync_period=11, min_sync_period=1, masquerade_bit=1, ipvs_sync_period=22, ipvs_min_sync_period=2,
        nftables_sync_period=33, nftables_min_sync_period=3, nftables_masquerade_bit=3, nftables_masquerade_all=True,
    )
    modes = [structs.replace(config, mode=mode) for mode in ("iptables", "ipvs", "nftables")]
    assert [(one.retry_period, one.write_period) for one in modes] == [(11, 1), (22, 2), (33, 3)]
    assert [(one.mark_bit, one.masquerade_every) for one in modes] == [(1, False), (1, False), (3, True)]


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:10256", ("127.0.0.1", 10256)), ("[::]:1", ("::", 1)), ("0.0.0.0:65535", ("0.0.0.0", 65535))]
)
def test_split_host_port(text: str, expected: tuple[str, int]) -> None:
    assert split_host_port(text) == expected


def test_family_of() -> None:
    assert family_of("10.0.0.1") is Family.IPV4
    assert family_of("10.0.0.1/8") is Family.IPV4
    assert family_of("fd00::/64") is Family.IPV6
    assert family_of("primary") is None
