"""Whether this node's own resolver answers a name as the objects say. Pure.

`resolve` says from the objects what a name stands for; pods are told what the resolver says. It is asked for the same names in the same
order, up to the first that exists. For a Service's own addresses any difference is a fault. A headless one's endpoints come and go, and
long answers are told in part, so there a difference is told and no more.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from pointsman.explain.resolve import Resolution

UPSTREAM = "asked upstream"
"""The result of a name that is none of the cluster's: the resolver is not asked for it, as that would leave the cluster."""

Rows = Sequence[Sequence[str]]


class Answered(Struct, frozen=True):
    """What the resolver said, in words; whether it `agrees` with the objects, and whether it is `broken` if it does not."""

    text: str
    agrees: bool = True
    broken: bool = False


def questions(resolution: Resolution) -> tuple[str, ...]:
    """Return the names to ask for, in order, as a pod's C library would."""
    return tuple(one.name for one in resolution.attempts if one.result != UPSTREAM)


def goes_on(rows: Rows) -> bool:
    """Return whether the C library tries the next name after this answer."""
    return any(len(row) > 1 and row[0] == "rcode" and row[1].startswith("NXDOMAIN") for row in rows)


def compare(resolution: Resolution, wanted: Iterable[str], qtype: str, name: str, rows: Rows) -> Answered:
    """Return what the resolver's last answer, for `name`, is worth; `wanted` are the addresses of this type by the objects."""
    answers = [row[1].split() for row in rows if len(row) > 1 and row[0] == "answer"]
    found = {words[3] for words in answers if len(words) == 4 and words[2] == qtype}
    cut = any(words[:1] == ["and"] for words in answers)
    expected = set(wanted)
    if found == expected or (cut and found < expected):
        shown = ", ".join(sorted(found)) if len(found) < 5 else f"{len(found)} addresses"
        return Answered(f"this node's resolver answers {name} {qtype}: {shown}, as the objects say")
    said = ", ".join(sorted(found)) or next((row[1] for row in rows if len(row) > 1 and row[0] in {"rcode", "error", "answer"}), "nothing")
    text = f"this node's resolver answers {name} {qtype} with {said}, but by the objects it is {', '.join(sorted(expected)) or 'none'}"
    return Answered(text, agrees=False, broken=not resolution.attempts[-1].result.startswith("headless"))
