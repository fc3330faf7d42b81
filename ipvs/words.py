"""What a difference of a key means for people, in the words that every mode uses. Pure.

See `iptables.words`: the same fault reads the same. Subjects of servers that nobody wants cannot be known: IPVS keeps no comments.
"""

from collections.abc import Iterator

from pointsman.dataplane.contract import ABSENT, Mark
from pointsman.dataplane.trace import Difference
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey, RealServer, ServerFlag, VirtualKey, VirtualServer, endpoint

NODE = "node"


def differences(key: Key, wanted: Value | Mark, found: Value | Mark, subject: str = "") -> Iterator[Difference]:
    """Yield what a key that is not as wanted means; `subject` is whose it is, empty if nobody wants it."""
    text, where = _said(key, wanted, found)
    yield Difference(subject or NODE, text, where, _text(key, wanted), _text(key, found))


def _said(key: Key, wanted: Value | Mark, found: Value | Mark) -> tuple[str, str]:
    if isinstance(key, RealKey):
        place = endpoint(key.address, key.port)
        where = f"real servers of {key.virtual}"
        if found is ABSENT:
            return f"endpoint {place} is missing", where
        if wanted is ABSENT:
            return f"connections go to {place}, which is none of its endpoints here", where
        return f"endpoint {place} is not reached as it should be", where
    if isinstance(key, VirtualKey):
        word = "does not lead to its endpoints" if found is ABSENT else "leads somewhere, but nobody wants it"
        return f"{key} {word if ABSENT in (found, wanted) else 'chooses its endpoint otherwise than it should'}", "virtual servers"
    if isinstance(key, AddressKey):
        word = "is not on" if found is ABSENT else "should not be on"
        return f"address {key.address} {word} {names.DEVICE}, so its packets {'do not ' if found is ABSENT else ''}stay here", names.DEVICE
    if isinstance(key, SetKey):
        return _of_set(key, wanted, found), str(key)
    return _of_rule(key, wanted, found), f"{key.table} {key.chain}"


def _of_rule(key: RuleKey, wanted: Value | Mark, found: Value | Mark) -> str:
    if key.rule:
        target = key.rule.rpartition(" ")[2]
        if found is ABSENT:
            return f"packets in {key.chain} ({key.table}) do not reach {target}: the jump is missing"
        return f"a jump to {target} stands where none should" if wanted is ABSENT else f"the jump to {target} stands more than once"
    if found is ABSENT:
        return f"chain {key.chain} ({key.table}) is missing"
    return f"chain {key.chain} ({key.table}) {'is left over' if wanted is ABSENT else 'holds other rules than it should'}"


def _of_set(key: SetKey, wanted: Value | Mark, found: Value | Mark) -> str:
    if not key.element:
        word = "is missing" if found is ABSENT else "is left over" if wanted is ABSENT else "is of another type than it should be"
        return f"set {key.name} {word}"
    if found is ABSENT:
        return f"{key.element} is missing in set {key.name}"
    word = "should not be" if wanted is ABSENT else "carries another value than it should"
    return f"{key.element} {word} in set {key.name}"


def _text(key: Key, value: Value | Mark) -> str:
    if isinstance(value, Mark):
        return ""
    if isinstance(value, VirtualServer):
        sticky = f", persistent {value.persistence_seconds} s" if value.flags & ServerFlag.PERSISTENT else ""
        return f"scheduler {value.scheduler}{sticky}"
    if isinstance(value, RealServer):
        return f"{value.forwarding.name.lower()}, weight {value.weight}"
    if isinstance(key, SetKey):
        return f"{key.element} {value}".strip()
    return key.rule or value if isinstance(key, RuleKey) else value
