"""What may go wrong between this program and the API server.

`ApiConfigError` is for people at the start: nobody can be asked, and why. `ApiError` is one request that failed; everybody asks it for
`status` and never reads its text. Pure; `access` and `client` raise them, `reflector` decides what to do.
"""


class ApiConfigError(Exception):
    """It is not known where the API server is, or as whom to ask it; the text says what to do."""


class ApiError(Exception):
    """A request failed: the HTTP status (0 if there was no answer), why, and after how many seconds the server wants to be asked again."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(status, reason, retry_after)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        """Return `403: services is forbidden`, or the reason alone where no answer came."""
        return f"{self.status}: {self.reason}" if self.status else self.reason

    @property
    def gone(self) -> bool:
        """Return whether the resource version, or the continuation of a list, is too old: list again."""
        return self.status == 410

    @property
    def absent(self) -> bool:
        """Return whether the server does not serve this resource at all."""
        return self.status == 404

    @property
    def denied(self) -> bool:
        """Return whether the server knows who asks and does not allow it."""
        return self.status == 403

    @property
    def unauthorized(self) -> bool:
        """Return whether the server does not accept the credentials; newer ones may help."""
        return self.status == 401

    @property
    def refused(self) -> bool:
        """Return whether the server did not like this form of request, so that another form may do."""
        return self.status in {400, 405, 406, 415, 422}
