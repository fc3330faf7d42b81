"""The commands that documents show, for those who run them.

A block of shell commands says in its first line who does: ```sh run=here``` (in a checkout, by tests/docs), ```sh run=cluster``` (in a real
cluster, by tests/cluster), or ```sh run=no reason="..."```.
"""

import re
from typing import NamedTuple

BLOCK = re.compile(r"^( *)```(\w+)(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
RUN = re.compile(r' run=(\w+)(?: reason="([^"]+)")?')
SHELLS = {"sh", "bash", "console", "shell"}


class Block(NamedTuple):
    """A block of commands: the document's line where it begins, who runs it, why nobody does, the commands."""

    line: int
    run: str
    reason: str
    script: str


def blocks(text):
    """Return the blocks of commands of a document, in order; `run` is empty where nothing is said."""
    found = []
    for match in BLOCK.finditer(text):
        indent, language, about, body = match.groups()
        if language in SHELLS:
            said = RUN.fullmatch(about)
            script = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(line, said[1] if said else "", (said[2] or "") if said else "", script))
    return found
