"""A mode without a kernel: a compiler and a kernel that behave as real ones do, and by default fail one time in ten.

The world holds chains (each on its own; a body as value) and rules (in buckets; the rules of a bucket are written together). A rule
points to a chain: it cannot be written before its chain, and a chain that is pointed to cannot be deleted; so a plan in the wrong order
fails even without faults. Every plan is checked against the contract before it is carried out, and nothing foreign may appear in it.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping

from msgspec import Struct
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, ForeignChange, Mark, Outcome, Plan
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Routing, ServiceRoute

BUCKETS = 4


class Chain(Struct, frozen=True, order=True):
    """A chain; its value is its body."""

    name: str

    def __str__(self) -> str:
        return f"chain {self.name}"


class Rule(Struct, frozen=True, order=True):
    """A rule of a bucket that points to a chain; its value is empty."""

    bucket: str
    target: str

    def __str__(self) -> str:
        return f"rule {self.bucket} to {self.target}"


Key = Chain | Rule


class Foreign(Struct, frozen=True):
    """Something of somebody else."""

    name: str


class FakeCompiler:
    """Each route has a chain, a rule in its bucket, and shares the bucket's chain and the root's rule to it with others."""

    def __init__(self) -> None:
        self.compiled: list[str] = []

    def static(self, node: NodeFacts, routing: Routing) -> Mapping[Key, str]:
        self.compiled.append("static")
        cidrs = ",".join(cidr for values in routing.service_cidrs.values() for cidr in values)
        return {Chain("mark"): f"bit {node.masquerade_bit} not {cidrs}", Rule("hooks", "mark"): ""}

    def compile(self, route: ServiceRoute, node: NodeFacts) -> Mapping[Key, str]:
        name = str(route.port_name)
        self.compiled.append(name)
        bucket = f"bucket-{route.port % BUCKETS}"
        body = " ".join(str(backend) for backend in route.cluster) + (" masq" if node.masquerade_all else "")
        return {Chain(name): body, Rule(bucket, name): "", Chain(bucket): "", Rule("root", bucket): ""}

    def rank(self, key: Key) -> int:
        if isinstance(key, Chain):
            return 1
        return 3 if key.bucket in {"hooks", "root"} else 2

    def group(self, key: Key) -> Hashable:
        return key.bucket if isinstance(key, Rule) else None

    def census(self, contents: Iterable[tuple[Key, str]]) -> Mapping[str, int]:
        return Counter(type(key).__name__ for key, _ in contents)

    def render(self, plan: Plan[Key, str]) -> str:
        return "".join(f"{change.key} {change.after}\n" for change in plan.changes)


class FaultyKernel:
    """Holds a world, and survives the process that programs it. `rate` is the share of operations that fail."""

    def __init__(self, seed: int = 0, rate: float = 0.1, seconds: float = 0.01, refuses: Callable[[Key], bool] = lambda key: False) -> None:
        self.random = random.Random(seed)
        self.rate = rate
        self.seconds = seconds
        self.refuses = refuses
        self.world: dict[Key, str] = {}
        self.foreign = {Foreign("docker"): "theirs"}
        self.observed: list[float] = []
        self.applied: list[Plan[Key, str]] = []
        self.times: list[tuple[float, float]] = []
        self.events: deque[ForeignChange] = deque()
        self.tampered = True
        self._noticed = asyncio.Event()

    # --- the contract ---

    async def preflight(self) -> tuple[KernelError, ...]:
        return ()

    async def observe(self) -> Mapping[Key, str | Mark]:
        self.observed.append(now())
        await asyncio.sleep(self.seconds)
        if self.fault():
            raise error(ErrorKind.BUSY)
        self.tampered = False
        return {key: UNKNOWN if self.fault() else value for key, value in self.world.items()}

    async def apply(self, plan: Plan[Key, str]) -> Outcome[Key]:
        check(plan)
        if not self.tampered:
            self.check_beliefs(plan)
        began = now()
        self.applied.append(plan)
        await asyncio.sleep(self.seconds)
        try:
            if self.fault():
                raise error(ErrorKind.BUSY)
            failed = self.carry_out(plan)
            if self.fault():
                raise error(ErrorKind.TIMEOUT)
        finally:
            self.times.append((began, now()))
        return Outcome(failed)

    async def watch(self) -> AsyncIterator[ForeignChange]:
        while True:
            if self.fault():
                raise error(ErrorKind.OTHER)
            while self.events:
                yield self.events.popleft()
            self._noticed.clear()
            await self._noticed.wait()

    async def cleanup(self, *, dry_run: bool) -> tuple[str, ...]:
        found = tuple(str(key) for key in self.world)
        if not dry_run:
            self.world.clear()
        return found

    # --- what others do to it ---

    def tamper(self, change: Callable[[dict[Key, str]], None], culprit: str = "firewalld") -> None:
        """Let somebody else change the world, and notice it."""
        change(self.world)
        self.tampered = True
        self.events.append(ForeignChange("table nat", culprit))
        self._noticed.set()

    def disturb(self) -> None:
        """Let somebody else change something of their own."""
        self.tamper(lambda world: None, "docker")

    # --- how it works ---

    def fault(self) -> bool:
        return self.random.random() < self.rate

    def carry_out(self, plan: Plan[Key, str]) -> dict[Key, KernelError]:
        failed: dict[Key, KernelError] = {}
        written: set[Hashable] = set()
        for change in plan.changes:
            if isinstance(change.key, Chain):
                if problem := self.write_chain(change):
                    failed[change.key] = problem
            elif change.key.bucket not in written:
                written.add(change.key.bucket)
                failed |= self.write_bucket(change.key.bucket, plan)
        return failed

    def write_chain(self, change: Change[Key, str]) -> KernelError | None:
        key, value = change.key, change.after
        if isinstance(value, Mark):
            if any(isinstance(rule, Rule) and rule.target == key.name for rule in self.world):
                return error(ErrorKind.BUSY, f"{key} is pointed to")
            if not self.fault():
                self.world.pop(key, None)
                return None
        elif self.refuses(key):
            return error(ErrorKind.INVALID, f"{key} is refused")
        elif not self.fault():
            self.world[key] = value
            return None
        elif self.random.random() < 0.5:
            self.world[key] = "half written"
        return error(self.random.choice((ErrorKind.OTHER, ErrorKind.INVALID)))

    def write_bucket(self, bucket: str, plan: Plan[Key, str]) -> dict[Key, KernelError]:
        """Write a bucket as a whole, without the rules it cannot take; or not at all; or write it and say that it failed."""
        changed = [change.key for change in plan.changes if isinstance(change.key, Rule) and change.key.bucket == bucket]
        content = dict(plan.groups[bucket])
        failed = {key: error(ErrorKind.MISSING, f"{key}: no such chain") for key in content if Chain(key.target) not in self.world}
        failed |= {key: error(ErrorKind.INVALID, f"{key} is refused") for key in content if self.refuses(key)}
        whole = self.fault()
        if whole and self.random.random() < 0.5:
            return {key: error(ErrorKind.OTHER) for key in changed} | failed
        victims = [key for key in content if key in changed and self.fault()]
        failed |= {key: error(ErrorKind.INVALID, f"{key} failed") for key in victims}
        for key in [key for key in self.world if isinstance(key, Rule) and key.bucket == bucket]:
            del self.world[key]
        self.world.update((key, value) for key, value in content.items() if key not in failed)
        return {key: error(ErrorKind.TIMEOUT) for key in changed} | failed if whole else failed

    def check_beliefs(self, plan: Plan[Key, str]) -> None:
        """What is believed to be there must be there, unless somebody else came in between."""
        for change in plan.changes:
            if change.before is not UNKNOWN:
                found = self.world.get(change.key, ABSENT)
                assert found == change.before, f"{change.key}: believed {change.before!r}, found {found!r}"


def check(plan: Plan[Key, str]) -> None:
    """Check a plan against the contract."""
    compiler = FakeCompiler()
    assert plan.changes, "an empty plan is not applied"
    keys = [change.key for change in plan.changes]
    assert len(set(keys)) == len(keys)
    assert all(isinstance(key, Chain | Rule) for key in keys), "only what is ours may be touched"
    assert all(change.before != change.after for change in plan.changes)
    places = [(1, -compiler.rank(change.key)) if change.after is ABSENT else (0, compiler.rank(change.key)) for change in plan.changes]
    assert places == sorted(places), "additions ascend, deletions descend"
    assert set(plan.groups) == {compiler.group(key) for key in keys} - {None}
    for change in plan.changes:
        group = compiler.group(change.key)
        if group is not None:
            assert plan.groups[group].get(change.key, ABSENT) == change.after
    for group, content in plan.groups.items():
        assert all(compiler.group(key) == group for key in content)


def error(kind: ErrorKind, text: str = "") -> KernelError:
    return KernelError(kind, text or f"the fake kernel is {kind.value}")


def now() -> float:
    return asyncio.get_running_loop().time()
