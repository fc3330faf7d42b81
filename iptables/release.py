"""Letting kube-proxy write again over rules of ours that still forward: on the way back, without a gap.

kube-proxy deletes chains of Services that went while it was away. The kernel does not let it while buckets of ours jump to them, and
refuses its whole table; ours would stand for ever, outdated. Or it wrote its rules while an agent ran, which put ours back, and finds no
reason to write again: it looks for its canaries, which are there. Removing ours then would leave nothing until kube-proxy tries again. So
what forwards gets names of its own: in one restore each chain per Service is copied to a name that kube-proxy does not know, and the
buckets jump there. Nothing changes for packets. The canaries are taken away, which makes kube-proxy write everything again within its sync
period (IPT-40); of itself it may wait until something changes in the cluster.

`stuck` is pure, as is `renamed`, which makes the text; `proxy.takeover` decides when, before `pointsman cleanup`.
"""

import re
from collections.abc import Iterator

from pointsman.dataplane.contract import Mark
from pointsman.iptables import names
from pointsman.iptables.failure import judge
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.run import LONG, error_of, run
from pointsman.iptables.variant import Tools
from pointsman.iptables.whose import Owner, Seen, owner

_JUMP = re.compile(r"-j (KUBE-(?:SVC|SVL|EXT|FW|SEP)-\S+)$")


def stuck(seen: Seen) -> bool:
    """Return whether kube-proxy, given the time to write, left the nat table to us: it was refused, or sees no reason to write."""
    return owner("nat", seen) is Owner.OURS


def renamed(seen: Seen) -> str:
    """Return the text for a restore: the nat table's chains per Service are copied, our buckets jump to the copies, canaries go."""
    copies: dict[str, list[str]] = {}
    buckets: dict[str, list[str]] = {}
    for key, value in seen.items():
        if not isinstance(key, RuleKey) or key.table != "nat" or isinstance(value, Mark):
            continue
        if (copy := names.copy_of(key.chain)) and not key.rule:
            copies[copy] = value.split("\n") if value else []
        elif names.is_bucket(key.chain) and not names.is_copy(key.chain):
            rules = buckets.setdefault(key.chain, [])
            rules += [key.rule] if key.rule else []
    nat = ["*nat", *_declared(copies | buckets), *_filled(buckets | copies)]
    return "\n".join([*_without_canary(nat, "nat", seen), *_without_canary(["*filter"], "filter", seen),
                      *_without_canary(["*mangle"], "mangle", seen), ""])


def _without_canary(lines: list[str], table: str, seen: Seen) -> list[str]:
    there = RuleKey(table, names.CANARY) in seen
    return [*lines, *([f":{names.CANARY} - [0:0]", f"-X {names.CANARY}"] if there else []), "COMMIT"]


def _declared(chains: dict[str, list[str]]) -> Iterator[str]:
    return (f":{chain} - [0:0]" for chain in chains)


def _filled(chains: dict[str, list[str]]) -> Iterator[str]:
    return (f"-A {chain} {_JUMP.sub(_to_copy, rule)}" for chain, rules in chains.items() for rule in rules)


def _to_copy(found: re.Match[str]) -> str:
    return f"-j {names.copy_of(found[1])}"


async def release(tools: Tools, seen: Seen) -> None:
    """Give what forwards names that kube-proxy does not know. Raises KernelError."""
    command = tools.restore_command()
    finished = await run(command, renamed(seen), seconds=LONG)
    if finished.status != 0:
        raise error_of(command, judge(finished.status, finished.errors))
