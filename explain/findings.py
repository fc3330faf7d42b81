"""A finding: something about this machine that is well, doubtful or bad, with why it matters and the command that mends it. Pure."""

from enum import Enum

from msgspec import Struct


class Level(Enum):
    """How a finding is meant; the worst comes first."""

    BAD = "bad"    # Services do not work, or not all of them
    WARN = "warn"  # they work, but something will bite
    OK = "ok"      # looked at, and well


class Finding(Struct, frozen=True):
    """What was looked at (`topic`), what was found, why it matters, and what to do (`fix`, empty where all is well).

    `stops` says which packets it stops: `forwarded`, `loopback`, `all`, or empty for none.
    """

    level: Level
    topic: str
    text: str
    why: str = ""
    fix: str = ""
    stops: str = ""
