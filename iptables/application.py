"""Bringing a plan into the kernel: the steps one after the other, and around whatever is refused.

Nearly always every step succeeds at once, and then nothing more happens here. If one fails, what is to blame is left out and the rest is
written: first what the tool names, then, if it names nothing (the kernel refuses a legacy table without a reason), by halving (`isolate`).
Each attempt is one atomic restore, so what was written stays written. The number of attempts is bounded; what is not written by then has
failed, and the loop tries it again later.

Whatever concerns the tool as a whole (the lock, permission, time) is not searched for: if nothing was written yet it is raised, else the
keys of this and of the later steps have failed.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from pointsman.dataplane.contract import ABSENT, Outcome, Plan
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import ipset, names
from pointsman.iptables.failure import Failure, judge
from pointsman.iptables.isolate import Cut
from pointsman.iptables.names import Role
from pointsman.iptables.objects import Key, SetKey, Value
from pointsman.iptables.render import Step
from pointsman.iptables.run import LONG, error_of, run
from pointsman.iptables.variant import Tools
from pointsman.iptables.writer import Turn

_NAMED_TRIES: Final = 24
"""Attempts at one step while the tool names what it refuses."""
_SEARCH_TRIES: Final = 96
"""Attempts at one step by halving."""


class WholeError(Exception):
    """A failure that no key is to blame for; carried out of the search, never out of this module."""

    def __init__(self, error: KernelError) -> None:
        super().__init__(error)
        self.error = error


class Application:
    """One plan on its way into the kernel."""

    def __init__(self, tools: Tools, plan: Plan[Key, Value], turn: Turn) -> None:
        self._tools = tools
        self._plan = plan
        self._turn = turn
        self._failed: dict[Key, KernelError] = {}
        self._written = False

    async def run(self, steps: Sequence[Step]) -> Outcome[Key]:
        """Run the steps and return which keys failed; raise KernelError if nothing could be written at all."""
        for number, step in enumerate(steps):
            try:
                if self._failed or await self._call(step, step.pieces()) is not None:
                    await _Isolation(self, step).run()
            except WholeError as whole:
                if not self._written:
                    raise whole.error from None
                for left in steps[number:]:
                    self.fail([key for key in left.keys if key is not None], whole.error)
                break
        return Outcome(self._failed)

    async def call(self, step: Step, text: str) -> Failure | None:
        """Run one step's tool with this text; return the failure if there is one. Raises WholeError."""
        return await self._call(step, text)

    async def _call(self, step: Step, text: str | Iterable[str]) -> Failure | None:
        try:
            command = self._tools.restore_command() if step.tool == "restore" else ipset.restore_command()
            finished = await run(command, text, seconds=LONG)
        except KernelError as error:
            raise WholeError(error) from error
        if finished.status == 0:
            self._written = True
            if step.tool == "restore":
                self._turn.commits.append((self._tools.family, step.table))
            return None
        failure = judge(finished.status, finished.errors)
        if failure.kind is ErrorKind.DENIED or (failure.kind is ErrorKind.BUSY and "lock" in failure.text):
            raise WholeError(error_of(command, failure))
        return failure

    def fail(self, keys: Collection[Key], error: KernelError) -> None:
        """Note that keys failed; the first reason of each counts."""
        for key in keys:
            self._failed.setdefault(key, error)

    @property
    def failed(self) -> Collection[Key]:
        """Return the keys that have failed so far."""
        return self._failed.keys()

    def absent(self, table: str) -> set[str]:
        """Return the names of the sets, and of the chains of a table, that the plan is the first to make."""
        fresh = (change.key for change in self._plan.changes if change.before is ABSENT and change.after is not ABSENT)
        return {
            key.name if isinstance(key, SetKey) else key.chain
            for key in fresh
            if (isinstance(key, SetKey) and not key.element) or (not isinstance(key, SetKey) and key.table == table and not key.rule)
        }


class _Isolation:
    """One step that was refused: everything of it that can be written gets written."""

    def __init__(self, application: Application, step: Step) -> None:
        self._application = application
        self._step = step
        self._cut = Cut(step, (), ())
        self._tries = _NAMED_TRIES
        self._last = KernelError(ErrorKind.OTHER, "was not tried", step.table or step.tool)

    async def run(self) -> None:
        absent = self._application.absent(self._step.table)
        self._cut = await asyncio.to_thread(Cut, self._step, absent, self._application.failed)
        self._note_dependents()
        if not await self._write(None):
            self._tries = _SEARCH_TRIES
            await self._search(await asyncio.to_thread(self._cut.units))

    async def _write(self, only: Collection[Key] | None) -> bool:
        """Write what is left (of `only`), leaving out what the tool blames; return False if it is refused and nothing is to blame."""
        wanted = frozenset(only) if only is not None else None
        while True:
            rest = await asyncio.to_thread(self._cut.rest, wanted)
            if all(self._cut.keys[place] is None for place in rest.places):
                return True
            if self._tries <= 0:
                return False
            self._tries -= 1
            failure = await self._application.call(self._step, rest.text)
            if failure is None:
                return True
            self._last = KernelError(failure.kind, failure.text, self._step.table or "ipset")
            blamed = await asyncio.to_thread(self._cut.blame, failure, rest)
            if blamed is None:
                return False
            self._application.fail(blamed, self._last)
            self._note_dependents()

    async def _search(self, units: Sequence[tuple[Key, ...]]) -> None:
        """Write portions together where possible, else by halves, until those that are refused stand alone."""
        keys = [key for unit in units for key in unit if key not in self._cut.failed]
        if not keys or await self._write(keys):
            return
        if len(units) > 1:
            middle = len(units) // 2
            await self._search(units[:middle])
            await self._search(units[middle:])
        elif len(keys) > 1 and self._separable(keys[0]):
            await self._search_members(keys, [])
        else:
            self._give_up(keys)

    async def _search_members(self, keys: list[Key], good: list[Key]) -> None:
        """Do the same for the rules of one shared chain or the elements of one set; the good ones found so far are written along."""
        keys = [key for key in keys if key not in self._cut.failed]
        if not keys:
            return
        if await self._write([*good, *keys]):
            good += [key for key in keys if key not in self._cut.failed]
        elif len(keys) > 1:
            middle = len(keys) // 2
            await self._search_members(keys[:middle], good)
            await self._search_members(keys[middle:], good)
        else:
            self._give_up(keys)
            await self._write(good)

    @staticmethod
    def _separable(key: Key) -> bool:
        return isinstance(key, SetKey) or names.role(key.table, key.chain) is Role.SHARED

    def _give_up(self, keys: Collection[Key]) -> None:
        self._cut.fail(keys)
        self._application.fail(keys, self._last)
        self._note_dependents()

    def _note_dependents(self) -> None:
        fresh = [key for key in self._cut.failed if key not in self._application.failed]
        if fresh:
            text = "not written, because a chain or set that it names could not be made"
            self._application.fail(fresh, KernelError(ErrorKind.MISSING, text, self._step.table or "ipset"))
