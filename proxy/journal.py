"""Problems and notices: each is told once when it appears, and once when it has gone.

Sources and routing hand over their whole present list each time; the journal logs only the difference, so a Service that stays broken for a
year is one line, and its mending is another. What is in the journal is also what `pointsman services` shows.
"""

import logging
from collections.abc import Iterable, Mapping

from pointsman.kube.events import Problem
from pointsman.proxy.config import ConfigProblem
from pointsman.routing.route import Notice, Severity

log = logging.getLogger(__name__)


class Journal:
    """What is wrong now; `standing` are notices that hold as long as this process runs."""

    def __init__(self, standing: Iterable[Notice] = ()) -> None:
        self.problems: tuple[Problem, ...] = ()
        self.notices: tuple[Notice, ...] = ()
        self._standing = tuple(standing)

    def set_problems(self, problems: Iterable[Problem]) -> None:
        """Take the source's present list."""
        before, self.problems = self.problems, tuple(dict.fromkeys(problems))
        known, current = frozenset(before), frozenset(self.problems)
        for problem in self.problems:
            if problem not in known:
                log.warning("input not usable", extra=_problem(problem))
        for problem in before:
            if problem not in current:
                log.info("input mended", extra=_problem(problem))

    def set_notices(self, notices: Iterable[Notice]) -> None:
        """Take the present list of what was refused or looks wrong, besides what stands."""
        before, self.notices = self.notices, tuple(dict.fromkeys((*self._standing, *notices)))
        known, current = frozenset(before), frozenset(self.notices)
        for notice in self.notices:
            if notice not in known:
                log.warning(notice.severity.value, extra=_notice(notice))
        for notice in before:
            if notice not in current:
                log.info("no longer %s", notice.severity.value, extra=_notice(notice))


def config_notices(warnings: Iterable[ConfigProblem], names: Mapping[str, str]) -> tuple[Notice, ...]:
    """Return warnings about the configuration as notices; `names` says what people call its fields."""
    return tuple(Notice("configuration", names.get(one.field, one.field), one.text, Severity.SUSPICIOUS) for one in warnings)


def _problem(problem: Problem) -> dict[str, object]:
    facts = {"where": problem.where, "object": problem.subject, "field": problem.field, "reason": problem.text}
    return {key: value for key, value in facts.items() if value}


def _notice(notice: Notice) -> dict[str, object]:
    return {"object": notice.subject, "field": notice.field, "reason": notice.text}
