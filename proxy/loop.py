"""The reconcile loop of one family: wanted → difference → plan → kernel, for ever.

`offer` says what is wanted and returns at once; `run` does everything else in one task, so no lock is needed. A run compiles what changed,
reads the kernel if `Lookout` says so, plans the difference and applies it. Nothing is read, pruned or written before the first offer, which
comes only when Services and EndpointSlices have both been listed (IN-07, pain 10); a restart with unchanged state therefore writes nothing.
`Pace` decides when the next run starts (PROC-20).

Failure stays small: a key that fails waits alone (`Retry`), the others go on; if the kernel fails as a whole the run is repeated with
back-off and what it tried is in doubt until then. Any other exception is a defect and ends the daemon.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from datetime import datetime
from typing import Generic

from msgspec import Struct
from pointsman.dataplane import plan as planning
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Compiler, ForeignChange, Fragment, K, Kernel, Outcome, Plan, V
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dataplane.lookout import Lookout
from pointsman.dataplane.pace import Pace
from pointsman.dataplane.retry import Retry, delay
from pointsman.dataplane.wanted import Wanted
from pointsman.proxy.status import FamilyProgress, FamilyStatus
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import RouteKey, ServicePortName

log = logging.getLogger(__name__)

SLICE = 250
"""So many routes are compiled before other tasks get their turn."""

LASTING = 4
"""Attempts after which a failure is told of at the Service: about a second has passed."""

NAMED = 5
"""So many keys are named in one log line."""


class LoopSettings(Struct, frozen=True, kw_only=True):
    """Times in seconds: the upper bound of the wait between two runs, and how often to look for drift.

    `drift_jitter` is a fraction of the drift interval that the caller draws once per process, so that nodes do not read in step.
    `before_write` is waited for before each write: DNS no longer answers by then what is removed. `on_failure` is told of keys that the
    kernel did not take.
    """

    min_sync_period: float = 1.0
    drift_interval: float = 300.0
    drift_jitter: float = 0.0
    before_write: Callable[[], Awaitable[None]] | None = None
    on_failure: Callable[[Iterable[object], KernelError], None] | None = None

    @property
    def heard(self) -> bool:
        """Return whether anybody is told of writes."""
        return self.before_write is not None or self.on_failure is not None


class FamilyLoop(Generic[K, V]):
    """Keeps the kernel of one family as wanted. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        compiler: Compiler[K, V],
        kernel: Kernel[K, V],
        progress: FamilyProgress,
        settings: LoopSettings = LoopSettings(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = progress
        self._compiler = compiler
        self._kernel: Kernel[K, V] = _Announced(kernel, settings) if settings.heard else kernel
        self._clock = clock
        self._wanted: Wanted[K, V] = Wanted(progress.family, compiler)
        self._delta: Delta[K, V] = Delta(self._wanted.desired.values, compiler.group)
        self._retry: Retry[K] = Retry()
        self._pace = Pace(settings.min_sync_period)
        self._complete = True
        self._lookout = Lookout(settings.drift_interval * (1 + settings.drift_jitter))
        self._wake = asyncio.Event()
        self._advanced = asyncio.Event()

    def offer(self, change: RoutingChange, node: NodeFacts) -> None:
        """Say what is wanted. Call it only once Services and EndpointSlices are in sync; the first call opens the gate (IN-07)."""
        now = self._clock()
        self._wanted.offer(change, node)
        self.progress.offered(change.routing.revision, now)
        self._request(now)

    def trust(self, *, complete: bool) -> None:
        """Say whether all input could be read; until it can, what an earlier process left stays: its objects may be unread ones."""
        if complete != self._complete:
            self._complete = complete
            self._request(self._clock())

    def status(self, wall: datetime) -> FamilyStatus:
        """Return the picture of this moment; `wall` is the present time with its time zone."""
        pending, due = len(self._delta.pending) - len(self._spared()), self._pace.next_time()
        return self.progress.report(self._clock(), wall, pending, self._retry.failing, due)

    def census(self) -> Callable[[], Mapping[str, int]]:
        """Return a function that counts what is wanted in the kernel, by kind; it takes its time, and may do so in a thread."""
        wanted = dict(self._wanted.desired.values)
        return lambda: self._compiler.census(wanted.items())

    def refused(self) -> Mapping[ServicePortName, str]:
        """Return the Service ports that are not programmed, or not wholly, because the kernel does not take it; and why."""
        found = {owner.port_name: str(error) for owner, error in self._wanted.refused.items() if isinstance(owner, RouteKey)}
        lasting = {key: entry.error for key, entry in self._retry.failing.items() if entry.attempts >= LASTING}
        for owner in self._wanted.desired.owners if lasting else ():
            key = next((key for key in self._wanted.desired.owned(owner) if key in lasting), None)
            if isinstance(owner, RouteKey) and key is not None:
                found.setdefault(owner.port_name, f"the kernel does not take {key}: {lasting[key].text}")
        return found

    async def applied(self, revision: int) -> None:
        """Wait until a revision, or a later one, is applied."""
        while (done := self.progress.revision_applied) is None or done < revision:
            await self._advanced.wait()

    async def settled(self) -> None:
        """Wait until the next run that leaves nothing to do."""
        await self._advanced.wait()

    async def verified(self) -> None:
        """Wait until all that is wanted was written, and until the kernel was then read again and held just that."""
        await self.applied(0)
        looked = self._lookout.looks
        self._look(self._clock())
        while self._lookout.looks == looked or not self._settled():
            await self._advanced.wait()

    async def run(self) -> None:
        """Reconcile until cancelled; what is in the kernel then stays there (PROC-12)."""
        self.progress.started(self._clock())
        while not self._wanted.offered:
            await self._wake.wait()
            self._wake.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._cycle())

    def _request(self, when: float) -> None:
        self._pace.request(when)
        self._wake.set()

    async def _cycle(self) -> None:
        while True:
            await self._until_due()
            began = self._clock()
            self._pace.start(began)
            self.progress.meters.began(began)
            failed = not await self._reconcile()
            now = self._clock()
            self.progress.meters.ended(now, well=not failed)
            self._pace.finish(now, failed=failed)
            self._pace.request(min(self._retry.next_time(), self._lookout.next_time()))
            if not failed and self._ready(now):
                self._pace.request(now)

    async def _until_due(self) -> None:
        await asyncio.sleep(0)  # however fast runs follow each other, health and status get their turn
        while (wait := self._pace.next_time() - self._clock()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _reconcile(self) -> bool:
        """Bring the kernel one step nearer; return whether it could be read and written at all."""
        await self._compile()
        if self._lookout.next_time() <= self._clock():
            await self._observe()
        if not self._delta.known:
            return False
        written = await self._apply()
        # A failing key may have come right without being tried: it was read, or written away with its group.
        self._retry.forget([key for key in self._retry.failing if key not in self._delta.pending])
        now, pending = self._clock(), len(self._delta.pending) > len(self._spared())
        self.progress.compared(now, pending=pending)
        if self._settled():
            self.progress.settled(now)
            self._advanced.set()
            self._advanced = asyncio.Event()
        return written

    async def _compile(self) -> None:
        self.progress.taken()
        fragments: dict[Hashable, Fragment[K, V] | None] = {}
        for owner, fragment in self._wanted.compiled():
            fragments[owner] = fragment
            if len(fragments) % SLICE == 0:
                await asyncio.sleep(0)
        known = self._wanted.refused
        changed = self._wanted.enter(fragments)
        for owner, error in self._wanted.refused.items():
            if owner not in known:
                log.warning("left out: another one wants the same object in the kernel otherwise", extra=self._facts(error=str(error)))
        self._delta.want(changed)
        self._retry.forget(changed)

    async def _observe(self) -> None:
        first, began = not self._delta.known, self._clock()
        self._lookout.start(began)
        self.progress.meters.looking(began)
        try:
            seen = await self._kernel.observe()
        except KernelError as error:
            self._lookout.fail(self._clock())
            log.warning("cannot read the kernel", extra=self._facts(kind=error.kind.value, error=str(error)))
            return
        drifted, suspects = self._delta.observe(seen), self.progress.suspects()
        now = self._clock()
        self._lookout.finish(now, touched=bool(drifted))
        self.progress.meters.looked(now)
        if drifted:
            self.progress.drifted(len(drifted), now)
            facts = self._facts(keys=len(drifted), named=_named(drifted), **_blame(suspects))
            log.warning("somebody changed what is ours; repairing it", extra=facts)
        elif first:
            facts = self._facts(keys=len(seen), differ=len(self._delta.pending), seconds=round(now - began, 3))
            log.info("read the kernel", extra=facts)
            if spared := self._spared():
                log.warning("part of the input cannot be read, so what an earlier run left stays", extra=self._facts(keys=len(spared)))

    async def _apply(self) -> bool:
        held = {*self._retry.held(self._clock()), *self._spared()}
        plan = planning.make(self._delta, self._compiler.rank, self._compiler.group, held)
        if not plan.changes:
            return True
        began = self._clock()
        try:
            outcome = await self._kernel.apply(plan)
        except KernelError as error:
            now = self._clock()
            self._delta.doubt(plan)
            self.progress.wrote(began, now, str(error))
            self.progress.meters.failed()
            log.warning("cannot write to the kernel", extra=self._facts(changes=len(plan.changes), kind=error.kind.value, error=str(error)))
            return False
        now = self._clock()
        self._delta.applied(plan, outcome)
        self._report_failures(plan, outcome, now)
        first = self.progress.revision_applied is None
        self.progress.wrote(began, now)
        self.progress.meters.written = self._compiler.census(planning.contents(plan, self._compiler.group))
        log.log(logging.INFO if first else logging.DEBUG, "applied", extra=self._facts(**_counts(plan), seconds=round(now - began, 4)))
        return True

    def _report_failures(self, plan: Plan[K, V], outcome: Outcome[K], now: float) -> None:
        """Keep the failures, and tell of each one once: when it begins, when its reason changes, when it ends."""
        mended = self._retry.forget([change.key for change in plan.changes if change.key not in outcome.failed])
        fresh: dict[K, KernelError] = {}
        for key, error in outcome.failed.items():
            old = self._retry.failing.get(key)
            if old is None or str(old.error) != str(error):
                fresh[key] = error
            self._retry.failed(key, error, now)
        if mended:
            log.info("succeeded after failures", extra=self._facts(keys=len(mended), named=_named(mended)))
        if outcome.failed:
            self.progress.meters.failed()
        if fresh:
            error = next(iter(fresh.values()))
            facts = self._facts(keys=len(fresh), named=_named(fresh), kind=error.kind.value, error=str(error))
            log.warning("the kernel did not take some keys; they are tried again, the others go on", extra=facts)

    async def _watch(self) -> None:
        """Follow foreign changes; where they cannot be followed, look now and try again later."""
        failures = 0
        while True:
            try:
                async for change in self._kernel.watch():
                    failures = 0
                    now = self._clock()
                    self.progress.noticed(change, now)
                    self._look(now)
                reason = "the watch ended"
            except KernelError as error:
                reason = str(error)
            failures += 1
            log.warning("cannot follow changes by others", extra=self._facts(error=reason, again_in=delay(failures)))
            self._look(self._clock())
            await asyncio.sleep(delay(failures))

    def _look(self, now: float) -> None:
        self._lookout.notice(now)
        self._request(self._lookout.next_time())

    def _spared(self) -> Collection[K]:
        """Return what an earlier process left and is not removed while input is unread."""
        return frozenset() if self._complete else self._delta.leftovers()

    def _ready(self, now: float) -> bool:
        """Return whether something is pending that need not wait."""
        held = {*self._retry.held(now), *self._spared()}
        return any(key not in held for key in self._delta.pending)

    def _settled(self) -> bool:
        """Return whether all is done that can be: nothing is pending but a part that the kernel refuses, and what points to that."""
        spared, failing = self._spared(), self._retry.failing
        pending = [key for key in self._delta.pending if key not in spared]
        if not pending:
            return True
        if len(pending) >= len(self._wanted.desired.values) or any(key not in failing for key in pending):
            return False
        errors = [failing[key].error for key in pending]
        return any(error.refused for error in errors) and all(error.refused or error.kind is ErrorKind.MISSING for error in errors)

    def _facts(self, **facts: object) -> dict[str, object]:
        """Return the facts of a log line with the family and the revision they are about."""
        return {"family": self.progress.family.value, "revision": self.progress.revision_wanted, **facts}


class _Announced(Generic[K, V]):
    """A kernel whose writes others are told of: before they begin, and if they fail."""

    def __init__(self, kernel: Kernel[K, V], settings: LoopSettings) -> None:
        self.preflight, self.observe, self.watch, self.cleanup = kernel.preflight, kernel.observe, kernel.watch, kernel.cleanup
        self._apply, self._before, self._failed = kernel.apply, settings.before_write, settings.on_failure

    async def apply(self, plan: Plan[K, V]) -> Outcome[K]:
        if self._before is not None:
            await self._before()
        try:
            outcome = await self._apply(plan)
        except KernelError as error:
            self._tell((change.key for change in plan.changes), error)
            raise
        for key, failure in outcome.failed.items():
            self._tell((key,), failure)
        return outcome

    def _tell(self, keys: Iterable[object], error: KernelError) -> None:
        if self._failed is not None:
            self._failed(keys, error)


def _named(keys: Collection[object]) -> str:
    """Return the first keys as text: a log line tells differences, never rule sets (pain 68)."""
    names = [str(key) for key, _ in zip(keys, range(NAMED), strict=False)]
    return ", ".join(names) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")


def _blame(suspects: tuple[ForeignChange, ...]) -> dict[str, object]:
    """Return what was changed and by whom, as far as anybody noticed."""
    what = dict.fromkeys(change.what for change in suspects)
    culprits = dict.fromkeys(change.culprit for change in suspects if change.culprit)
    return {"what": ", ".join(what) or "nobody saw it", "culprit": ", ".join(culprits) or "unknown"}


def _counts(plan: Plan[K, V]) -> dict[str, object]:
    """Return what a plan does, in numbers, and its first keys."""
    deleted = sum(1 for change in plan.changes if change.after is ABSENT)
    added = sum(1 for change in plan.changes if change.before is ABSENT)
    doubtful = sum(1 for change in plan.changes if change.before is UNKNOWN and change.after is not ABSENT)
    updated = len(plan.changes) - deleted - added - doubtful
    counts: dict[str, object] = {"added": added, "updated": updated, "deleted": deleted}
    if doubtful:
        counts["rewritten"] = doubtful
    return {**counts, "groups": len(plan.groups), "named": _named([change.key for change in plan.changes])}
