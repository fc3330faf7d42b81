"""A list's body, cut into objects while it arrives: 30 MB of slices never exist as one text. Pure.

API servers write lists without blanks, what they are first and the items last, and each item begins with its metadata. So where one item
ends and the next begins stand the bytes `},{"metadata":`. These cannot stand within a string, as its quotes would be escaped; if they stand
deeper within an item, the piece before them is no whole JSON and is joined with the next one. A body that is written otherwise, by a
proxy perhaps, is read as a whole in the end: that costs memory and nothing else.

`reflector` feeds it; what it says of an object or of a body is what `stream.read_page` would say.
"""

from typing import Final

import msgspec
from msgspec import Raw
from pointsman.kube.decode import DecodeError
from pointsman.kube.objects import Kind, KubeObject
from pointsman.kube.stream import GarbledError, Page, decoded, read_page

LONGEST_OBJECT: Final = 16 * 1024 * 1024
"""Bytes after which an object must have ended; the store takes about a tenth of that."""

LONGEST_BODY: Final = 256 * 1024 * 1024
"""Bytes of a body that is read as a whole at most."""

_ITEMS: Final = b'"items":['
_FIRST: Final = b'{"metadata":'
_SEAM: Final = b"}," + _FIRST
_HEAD: Final = 64 * 1024
_JSON: Final = msgspec.json.Decoder(Raw)


class Listed:
    """Reads the body of one list."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._head = b""
        self._rest = bytearray()
        self._cutting = True

    def feed(self, part: bytes) -> list[KubeObject | DecodeError]:
        """Return the objects that are complete now. Raises GarbledError."""
        self._rest += part
        if self._cutting and not self._head:
            self._begin()
        if len(self._rest) > (LONGEST_OBJECT if self._head else LONGEST_BODY):
            raise GarbledError("the list is larger than any of an API server")
        return self._cut() if self._head else []

    def finish(self) -> Page:
        """Return what is left, with the list's version. Raises GarbledError if the list is not complete."""
        page = read_page(self._kind, self._head + self._rest)  # what came before the items, and the last of them: a list again
        if page.following:
            raise GarbledError("the server has sent a part of the list only")
        return page

    def _begin(self) -> None:
        """Look for the beginning of the items. Raises GarbledError if this is no such list."""
        at = self._rest.find(_ITEMS)
        start = at + len(_ITEMS)
        if at < 0:
            self._cutting = len(self._rest) < _HEAD
        elif len(self._rest) >= start + len(_FIRST):
            self._cutting = self._rest.startswith(_FIRST, start)
            if self._cutting:
                self._head = bytes(self._rest[:start])
                del self._rest[:start]
                read_page(self._kind, self._head + b"]}")

    def _cut(self) -> list[KubeObject | DecodeError]:
        """Take all objects off that have ended."""
        *pieces, last = self._rest.split(_SEAM)
        outcomes: list[KubeObject | DecodeError] = []
        text = bytearray()
        for piece in pieces:
            text += piece + b"}"
            if _is_json(text):
                outcomes.append(decoded(self._kind, bytes(text)))
                text = bytearray(_FIRST)
            else:
                text += _SEAM[1:]
        self._rest = text + last
        return outcomes


def _is_json(text: bytearray) -> bool:
    try:
        _JSON.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
