"""Values as kube-proxy's flags and files spell them: Go's durations and booleans, lists with commas, feature gates.

Every reader takes a text and raises ValueError with a sentence; `spelled` is the way back, for help, files and reports.
"""

import re

_UNITS = {"h": 3600e9, "m": 60e9, "s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1.0}  # nanoseconds: what Go counts in
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|us|µs|ns|m|s)")


def duration(text: str) -> float:
    """Read a duration as Go writes it (`30s`, `1m30s`, `100ms`, `0`) into seconds; raises ValueError."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _PART.findall(rest) if rest.isascii() or "µ" in rest else []
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"{text!r} is no duration; write it as 30s, 1m30s or 100ms")
    return sign * round(sum(float(number) * _UNITS[unit] for number, unit in parts)) / 1e9


def boolean(text: str) -> bool:
    """Read a boolean as Go does; raises ValueError."""
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def integer(text: str) -> int:
    """Read a whole number as Go does: in decimal, or with 0x, 0o, 0b, or a leading 0 for octal; raises ValueError."""
    found = re.fullmatch(r"([+-]?)(0[xX][0-9a-fA-F]{1,8}|0[bB][01]{1,32}|0[oO]?[0-7]{0,11}|[1-9][0-9]{0,9})", text)
    if not found:
        raise ValueError(f"{text!r} is no whole number")
    sign, digits = found.groups()
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    return int(sign + (f"0o{digits[1:]}" if octal else digits), 0)


def decimal(text: str) -> float:
    """Read a number; raises ValueError."""
    if not re.fullmatch(r"[+-]?([0-9]{1,9}(\.[0-9]*)?|\.[0-9]+)", text):
        raise ValueError(f"{text!r} is no number")
    return float(text)


def version(text: str) -> str:
    """Read what is asked of the version: a boolean, `raw`, or a version to report, which has no effect; raises ValueError."""
    if text != "raw" and not text.startswith("v"):
        return "true" if boolean(text) else "false"
    return text


def gates(text: str) -> tuple[tuple[str, bool], ...]:
    """Read feature gates: `Name=true,Other=false`; raises ValueError."""
    found = []
    for entry in listed(text):
        name, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"{entry!r} is no feature gate; write it as Name=true or Name=false")
        found.append((name.strip(), boolean(value.strip())))
    return tuple(found)


def word(text: str) -> str:
    """Read a text: blanks around it mean nothing."""
    return text.strip()


def listed(text: str) -> tuple[str, ...]:
    """Read a comma-separated list; empty entries mean nothing."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def node_name(text: str) -> str:
    """Read a Node's name, in lower case as the API has it (IN-50)."""
    return text.strip().lower()


def mode(text: str) -> str:
    """Read a mode; none means iptables (CFG-13)."""
    return text.strip() or "iptables"


def detector(text: str) -> str:
    """Read how local traffic is detected; nothing means by the cluster's range (CFG-11)."""
    return text.strip() or "ClusterCIDR"


def bind(text: str) -> str:
    """Read the node's address; nothing means any (CFG-01)."""
    return text.strip() or "0.0.0.0"  # noqa: S104


def external_ips(text: str) -> str:
    """Read what becomes of external IPs, in either case."""
    return text.strip().lower()


def spelled_duration(seconds: float) -> str:
    """Write a duration as Go does: `1m30s`, `24h0m0s`, `1.5s`, `100ms`, `0s`."""
    nanos = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 else ""
    if nanos == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanos < size * 1000:
            return f"{sign}{nanos / size:.15g}{unit}"
    hours, rest = divmod(nanos, 3_600_000_000_000)
    minutes, rest = divmod(rest, 60_000_000_000)
    text = f"{rest // 1_000_000_000}.{rest % 1_000_000_000:09d}".rstrip("0").rstrip(".") + "s"
    text = f"{minutes}m{text}" if hours or minutes else text
    return sign + (f"{hours}h{text}" if hours else text)


def spelled(value: object, *, time: bool = False) -> str:
    """Write a value as it is given on the command line; `time` tells a duration from a number."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return spelled_duration(value) if time else f"{value:.15g}"
    if isinstance(value, tuple):
        return ",".join(f"{entry[0]}={spelled(entry[1])}" if isinstance(entry, tuple) else str(entry) for entry in value)
    return str(value)
