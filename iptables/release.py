"""Letting kube-proxy write again over rules of ours that still forward: on the way back, without a gap.

kube-proxy deletes chains of Services that went while it was away. The kernel does not let it while buckets of ours jump to them, and
refuses its whole table; ours would stand for ever, outdated. Removing ours then would leave nothing until kube-proxy tries again. So what
forwards gets names of its own: in one restore each chain per Service is copied to a name that kube-proxy does not know, and the buckets
jump there. Nothing changes for packets, and kube-proxy's next attempt succeeds.

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
    """Return whether kube-proxy could write one table and not the other: filter comes first, and nat was refused."""
    return owner("filter", seen) is Owner.KUBE_PROXY and owner("nat", seen) is Owner.OURS


def renamed(seen: Seen) -> str:
    """Return the text for a restore that copies the nat table's chains per Service and lets our buckets jump to the copies."""
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
    return "\n".join(["*nat", *_declared(copies | buckets), *_filled(buckets | copies), "COMMIT\n"])


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
