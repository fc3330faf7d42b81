"""How this node's own resolver is, asked over its socket: what `pointsman status` and `pointsman doctor` tell of DNS.

The agent answers even while its resolver does not work, so that it is known who answers the queries of pods meanwhile. Where nobody
answers, there is no DNS of ours: that is no fault, for the cluster may have another.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from pointsman.proxy.cli.dns_query import ask
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.dns import questions
from pointsman.proxy.dns.questions import Explanation, Question


class DnsState(Struct, frozen=True, rename="camel"):
    """The state of DNS on this node; sizes in bytes. `names` is complete, saved (by an earlier process), unknown, or none (not served).

    `waiting` Services are not told of before their rules are applied.
    """

    serving: bool
    listens: tuple[str, ...] = ()
    restarts: int = 0
    failures: tuple[str, ...] = ()
    names: str = "unknown"
    waiting: int = 0
    resident_bytes: int = 0


def read(agent: str) -> DnsState | None:
    """Return the state of DNS of the agent at this socket; None if there is none. Raises UnreachableError if one does not answer."""
    path = questions.default_path(agent)
    if not Path(path).exists():
        return None
    try:
        found = msgspec.json.decode(ask(path, msgspec.json.encode(Question(questions.STATE))), type=Explanation)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"{path}: the answer is not understood ({error}); use the same version of pointsman") from error
    return of_rows(found.steps[0].rows if found.steps else ())


def of_rows(rows: Sequence[Sequence[str]]) -> DnsState:
    """Return the state that rows of label and text tell."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if len(row) == 2:
            found.setdefault(row[0], []).append(row[1])

    def number(label: str) -> int:
        text = found.get(label, ["0"])[0]
        return int(text) if text.isdigit() else 0

    return DnsState(
        found.get(questions.SERVING) == ["yes"],
        tuple(found.get(questions.LISTENS, ())),
        number(questions.RESTARTS),
        tuple(found.get(questions.FAILURE, ())),
        found.get(questions.NAMES, ["unknown"])[0],
        number(questions.WAITING),
        number(questions.MEMORY),
    )


def lines(found: DnsState) -> list[str]:
    """Return the state in words."""
    if not found.serving:
        why = f" ({'; '.join(found.failures)})" if found.failures else ""
        return [f"DNS: the resolver does not answer{why}; queries to the cluster's DNS address go to the endpoints of its Service"]
    names = {
        "complete": "all names of the cluster are known", "saved": "names are those that an earlier process saved, until the API answers",
        "unknown": "the names of the cluster are not known yet", "none": "it has no names of the cluster",
    }.get(found.names, found.names)  # fmt: skip
    more = [f"{found.restarts} restarts"] if found.restarts else []
    more += [f"{found.waiting} Services wait for their rules"] if found.waiting else []
    more += [f"{found.resident_bytes / 2**20:.0f} MiB"] if found.resident_bytes else []
    return [f"DNS: answers at {', '.join(found.listens)}; {'; '.join([names, *more])}"]


def trouble(found: DnsState) -> str:
    """Return what is not as it should be, empty if nothing."""
    return "" if found.serving else lines(found)[0]
