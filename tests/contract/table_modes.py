"""The modes that the contract table is run against. A new mode, or a variant of one, plugs in by one more value."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModeUnderTest:
    """A mode as the daemon is told to use it: its name for people, arguments of `pointsman run`, and further environment.

    `wipe` are command lines by which a careless operator destroys what the mode has programmed.
    """

    name: str
    arguments: tuple[str, ...]
    wipe: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return self.name


def _iptables(variant):
    return ModeUnderTest(
        f"iptables-{variant}",
        ("--proxy-mode", "iptables", "--iptables-variant", variant),
        tuple(f"{tool}-{variant} -t nat -F" for tool in ("iptables", "ip6tables")),
    )


MODES = (_iptables("legacy"), _iptables("nft"))
