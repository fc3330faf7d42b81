"""A Corefile on disk: the file, what it imports, and its environment (COR-05). The only module here that touches files.

Imports are relative to the file that has them. A pattern may have one wildcard, and matches nothing without being an error: that is how
distributions offer custom parts that nobody has written yet.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pointsman.dns.corefile.findings import Finding, Place
from pointsman.dns.corefile.load import Loaded, load
from pointsman.dns.corefile.parser import File

WILDCARDS = "*?[]"
LARGEST = 16 << 20
"""Bytes of one file; a larger one is not a Corefile."""


def read(path: str, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read a Corefile with its imports; a file that cannot be read is a finding."""
    try:
        text = _text(Path(path))
    except (OSError, ValueError) as error:
        return Loaded(None, (Finding(Place(path, 1), _reason(error)),), "")
    return load(File(path, text), imports, os.environ if environment is None else environment)


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
