"""The one kind of error that kernels raise.

Each edge (iptables-restore's stderr, a netlink errno) turns its failure into a `KernelError` in one function of its own; everybody else
asks for `kind` and never reads text. `text` is for people: it says what failed and what to do next.
"""

from enum import Enum


class ErrorKind(Enum):
    """What went wrong, as far as callers must know."""

    MISSING = "missing"          # the object is not there
    EXISTS = "exists"            # the object is there already
    BUSY = "busy"                # somebody holds the lock or the object: retry
    DENIED = "denied"            # not root, or a capability is lacking
    UNSUPPORTED = "unsupported"  # this kernel or tool cannot do it
    INVALID = "invalid"          # the kernel or tool refused the request's content
    TOO_BIG = "too big"          # a limit of the kernel
    TIMEOUT = "timeout"          # no answer in time: retry
    OTHER = "other"


class KernelError(Exception):
    """A kernel operation failed; `subject` names the object or command it was about (empty if none)."""

    def __init__(self, kind: ErrorKind, text: str, subject: str = "") -> None:
        super().__init__(kind, text, subject)
        self.kind = kind
        self.text = text
        self.subject = subject

    def __str__(self) -> str:
        """Return `subject: text`."""
        return f"{self.subject}: {self.text}" if self.subject else self.text

    @property
    def transient(self) -> bool:
        """Return whether the same request may succeed later without any change."""
        return self.kind in {ErrorKind.BUSY, ErrorKind.TIMEOUT}

    @property
    def refused(self) -> bool:
        """Return whether the content of the request was at fault, so that every node would fail alike."""
        return self.kind in {ErrorKind.INVALID, ErrorKind.UNSUPPORTED, ErrorKind.TOO_BIG}
