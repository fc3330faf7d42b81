"""The modes that the contract table is run against. A new mode, or a variant of one, plugs in by one more value."""

from dataclasses import dataclass, field

import pytest


@dataclass(frozen=True)
class ModeUnderTest:
    """A mode as the daemon is told to use it: its name for people, arguments of `pointsman run`, and further environment.

    `wipe` are command lines by which a careless operator destroys what the mode has programmed.
    """

    name: str
    arguments: tuple[str, ...]
    wipe: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    marks: tuple[pytest.MarkDecorator, ...] = ()

    def __str__(self):
        return self.name

    def param(self, *more, name="", marks=()):
        """Return this mode as a parameter of a test, marked by the kernel that it needs; `more` parameters may follow."""
        return pytest.param(self, *more, id=name or self.name, marks=(*self.marks, *marks))


def _iptables(variant):
    return ModeUnderTest(
        f"iptables-{variant}",
        ("--proxy-mode", "iptables", "--iptables-variant", variant),
        tuple(f"{tool}-{variant} -t nat -F" for tool in ("iptables", "ip6tables")),
    )


MODES = (_iptables("legacy"), _iptables("nft"))
