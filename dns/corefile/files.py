"""A Corefile on disk: the file, what it imports, and its environment (COR-05). The only module here that touches files.

Imports are relative to the file that has them. A pattern may have one wildcard, and matches nothing without being an error: that is how
distributions offer custom parts that nobody has written yet.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pointsman.dns.corefile.findings import Finding, Place
from pointsman.dns.corefile.load import Loaded, load
from pointsman.dns.corefile.parser import File, Library

WILDCARDS = "*?[]"
LARGEST = 16 << 20
"""Bytes of one file; a larger one is not a Corefile."""


def read(path: str, environment: Mapping[str, str] | None = None, library: Library | None = None) -> Loaded:
    """Read a Corefile with its imports; a file that cannot be read is a finding."""
    try:
        text = _text(Path(path))
    except (OSError, ValueError) as error:
        return Loaded(None, (Finding(Place(path, 1), _reason(error)),), "")
    return load(File(path, text), library or imports, os.environ if environment is None else environment)


class Reader:
    """Reads a Corefile again and again; what has not changed is not parsed again, however large it is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: tuple[str, tuple[tuple[str, str], ...], Loaded] | None = None

    def read(self) -> Loaded:
        """Return the Corefile as it is now; the same object as before where no file of it has changed. Any thread may call it."""
        known = self._known
        digest = self._digest(known[1] if known is not None else ())  # before it is read: what changes meanwhile is seen the next time
        if known is not None and known[0] == digest:
            return known[2]
        asked: list[tuple[str, str]] = []

        def library(pattern: str, importer: str) -> tuple[File, ...] | str:
            asked.append((pattern, importer))
            return imports(pattern, importer)

        loaded = read(self._path, library=library)
        self._known = (digest, tuple(dict.fromkeys(asked)), loaded)
        return loaded

    def _digest(self, asked: Iterable[tuple[str, str]]) -> str:
        """Return what tells the content of all files from others, given what was imported."""
        try:
            content = Path(self._path).read_bytes()
        except OSError as error:
            content = repr(error).encode()
        found = hashlib.sha512(content)
        for pattern, importer in asked:
            found.update(repr((pattern, importer, imports(pattern, importer))).encode(errors="surrogatepass"))
        return found.hexdigest()


def imports(pattern: str, importer: str) -> tuple[File, ...] | str:
    """Return the files of an import, sorted by name; a text says why there are none where there should be one."""
    whole = Path(importer).parent / pattern
    if sum(str(whole).count(character) for character in "*?") > 1 or "[" in pattern:
        return f"Glob pattern may only contain one wildcard (*), but has others: {pattern}"
    plain = not any(character in pattern for character in WILDCARDS)
    paths = [whole]
    if not plain:
        paths = sorted(path for path in Path(whole.anchor or ".").glob(str(whole.relative_to(whole.anchor))) if path.is_file())
    if plain and not whole.exists():
        return f"File to import not found: {pattern}"
    try:
        return tuple(File(str(path), _text(path)) for path in paths)
    except (OSError, ValueError) as error:
        return f"Could not import {pattern}: {_reason(error)}"


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if len(raw) > LARGEST:
        raise ValueError(f"{path} has {len(raw)} bytes: this is not a Corefile")
    return raw.decode()


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"the file is not UTF-8 text: byte {error.start}"
    if isinstance(error, OSError):
        return f"the file cannot be read: {error.strerror}"
    return str(error)
