"""What a difference of a key means for people, in words that every mode uses. Pure.

The same fault should read the same whatever programs the kernel: "endpoint X is missing", "cluster IP X does not lead to its endpoints",
"packets do not reach pointsman's rules". So the endpoints of a chain are compared one by one; only what is left is told as a rule. Subjects
of objects that nobody wants come from the comment that they carry.
"""

from collections.abc import Iterator
from re import compile as pattern

from pointsman.dataplane.contract import ABSENT, Mark
from pointsman.dataplane.trace import Difference
from pointsman.iptables import names
from pointsman.iptables.names import Role
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value

NODE = "node"
"""The subject of what belongs to no Service port."""

_ENDPOINT = pattern(r"--to-destination (\S+)")
_COMMENT = pattern(r'--comment (?:"([^"]*)"|(\S+))')
_SUBJECT = pattern(r"^[a-z0-9.-]+/\S+")
_KINDS = ("cluster IP", "external IP", "loadbalancer IP")
_BALANCING = ("KUBE-SVC-", "KUBE-SVL-")


def differences(key: Key, wanted: Value | Mark, found: Value | Mark, subject: str = "") -> Iterator[Difference]:
    """Yield what a key that is not as wanted means; `subject` is whose it is, empty if nobody wants it."""
    have, want = _text(key, found), _text(key, wanted)
    if not subject:
        subject = subject_of(have or want)
    if isinstance(key, SetKey):
        yield Difference(subject, _of_set(key, wanted, found), str(key), want, have)
        return
    role = names.role(key.table, key.chain)
    if role is Role.BUILTIN or role is Role.GUEST:
        yield Difference(subject, _of_hook(key, wanted, found), f"{key.table} {key.chain}", want, have)
    elif key.chain.startswith(_BALANCING) and not key.rule:
        yield from _of_endpoints(key, want, have, subject)
    elif role is Role.SHARED and key.rule:
        yield Difference(subject, _of_place(key, wanted, found), f"{key.table} {key.chain}", want, have)
    else:
        yield Difference(subject, _of_chain(key, wanted, found), str(key), want, have)


def subject_of(text: str) -> str:
    """Return the Service port that a rule's comment names, else the node."""
    for quoted, bare in _COMMENT.findall(text):
        if match := _SUBJECT.match(quoted or bare):
            return match.group()
    return NODE


def _text(key: Key, value: Value | Mark) -> str:
    if isinstance(value, Mark):
        return ""
    if isinstance(key, SetKey):
        return f"{key.element} {value}".strip()
    return f"{key.rule} ({value} times)" if key.rule and value else key.rule or value


def _of_endpoints(key: RuleKey, want: str, have: str, subject: str) -> Iterator[Difference]:
    wanted, found = _ENDPOINT.findall(want), _ENDPOINT.findall(have)
    missing, extra = [one for one in wanted if one not in found], [one for one in found if one not in wanted]
    if not have and not wanted:
        yield Difference(subject, "the chain that chooses its endpoint is missing", str(key), want, have)
    for one in missing:
        yield Difference(subject, f"endpoint {one} is missing", str(key), _line(want, one), "")
    for one in extra:
        yield Difference(subject, f"connections go to {one}, which is none of its endpoints here", str(key), "", _line(have, one))
    if not missing and not extra and (have or wanted):
        text = "nobody wants its chain" if not want else "its endpoints are not chosen as they should be"
        yield Difference(subject, text, str(key), want, have)


def _line(body: str, endpoint: str) -> str:
    return next(line for line in body.split("\n") if line.endswith(f" {endpoint}") or f" {endpoint} " in line)


def _of_hook(key: RuleKey, wanted: Value | Mark, found: Value | Mark) -> str:
    target = names.jump_target(key.rule) or "kubelet's rule"
    if found is ABSENT:
        return f"packets in {key.chain} ({key.table}) do not reach {target}: the jump is missing"
    return f"a jump to {target} stands where none should" if wanted is ABSENT else f"the jump to {target} stands more than once"


def _of_place(key: RuleKey, wanted: Value | Mark, found: Value | Mark) -> str:
    words = key.rule.split()
    port = words[words.index("--dport") + 1] if "--dport" in words else ""
    if names.is_bucket(names.jump_target(key.rule)):
        state = "is missing" if found is ABSENT else "is left over" if wanted is ABSENT else "stands more than once"
        return f"the way from {key.chain} to {names.jump_target(key.rule)} {state}"
    kind = next((kind for kind in _KINDS if kind in key.rule), "node port").replace("loadbalancer", "load-balancer")
    address = words[words.index("-d") + 1].partition("/")[0] if "-d" in words else ""
    place = f"{kind} {address}{':' if address and port else ''}{port}".rstrip()
    refuses = any(target in key.rule for target in ("-j REJECT", "-j DROP"))
    if found is ABSENT:
        return f"{place} is not refused, but should be" if refuses else f"{place} does not lead to its endpoints"
    if wanted is ABSENT:
        return f"{place} is refused, but should not be" if refuses else f"{place} leads somewhere, but nobody wants it"
    return f"{place} stands more than once"


def _of_chain(key: RuleKey, wanted: Value | Mark, found: Value | Mark) -> str:
    if found is ABSENT:
        return f"chain {key.chain} ({key.table}) is missing"
    if wanted is ABSENT:
        return f"chain {key.chain} ({key.table}) is left over"
    return f"chain {key.chain} ({key.table}) holds other rules than it should"


def _of_set(key: SetKey, wanted: Value | Mark, found: Value | Mark) -> str:
    if not key.element:
        word = "is missing" if found is ABSENT else "is left over" if wanted is ABSENT else "is of another type than it should be"
        return f"set {key.name} {word}"
    what = "cluster IP" if key.name.endswith("CLUSTER-IP") else "connection of an endpoint to itself"
    word = "is missing in" if found is ABSENT else "should not be in"
    return f"{what} {key.element} {word} set {key.name}"
