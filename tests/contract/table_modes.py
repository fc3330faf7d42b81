"""The modes that the contract table is run against. A new mode, or a variant of one, plugs in by one more value."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModeUnderTest:
    """A mode as the daemon is told to use it: its name for people, arguments of `pointsman run`, and further environment."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return self.name


MODES = (
    ModeUnderTest("iptables-legacy", ("--proxy-mode", "iptables", "--iptables-variant", "legacy")),
    ModeUnderTest("iptables-nft", ("--proxy-mode", "iptables", "--iptables-variant", "nft")),
)
