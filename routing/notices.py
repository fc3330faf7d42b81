"""Notes: how a judge of objects writes down what is wrong with one of them, and goes on.

Every unusable or suspicious field becomes a `Notice` (a value, never an exception), so one broken field costs nothing but itself. The
judges (`service`, `endpoint`, `frontends`, `conflicts`, `exposure`) each write into a `Notes` for one subject; `build` gathers them in a
`ledger`.
"""

from pointsman.routing.route import Notice, Severity


class Notes:
    """Notices about one subject, such as `Service shop/web`."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._notices: dict[Notice, None] = {}

    def refuse(self, field: str, text: str) -> None:
        """Note that a field's wish is not programmed."""
        self._notices[Notice(self._subject, field, text, Severity.REFUSED)] = None

    def suspect(self, field: str, text: str) -> None:
        """Note that a field is programmed, but somebody should look at it."""
        self._notices[Notice(self._subject, field, text, Severity.SUSPICIOUS)] = None

    def notices(self) -> tuple[Notice, ...]:
        """Return all notices, each once."""
        return tuple(self._notices)
