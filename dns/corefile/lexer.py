r"""Corefile text to tokens (COR-01, COR-02).

White space separates tokens. A double quote opens a quoted token only where a token begins; inside, only `\"` is an escape and lines may
end. `#` begins a comment even in the middle of a token. Carriage returns and a byte order mark are skipped. Environment variables are put
in while a token is made, so they never make new tokens, whatever they hold.

A token knows whether it is the first of its line: the grammar asks only that, and it stays true where a snippet or a file is pasted.
The parser reads next.
"""

import re
from collections.abc import Mapping

from msgspec import Struct
from pointsman.dns.corefile.findings import Findings, Place

_VARIABLE = re.compile(r"\{\$([^}]+)\}|\{%([^%]+)%\}")


class Token(Struct, frozen=True):
    """A word of a Corefile, where it began, and whether its line began with it. A quoted word is never a brace."""

    text: str
    place: Place
    first: bool
    quoted: bool = False

    @property
    def opens(self) -> bool:
        """Return whether this is an opening brace."""
        return self.text == "{" and not self.quoted

    @property
    def closes(self) -> bool:
        """Return whether this is a closing brace."""
        return self.text == "}" and not self.quoted


class _Cursor:
    """A place in the text: what comes next, and on which line."""

    def __init__(self, text: str) -> None:
        self.text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\r", "")
        self.at = 0
        self.line = 1

    def take(self) -> str:
        """Return the next character and go past it; empty at the end."""
        character = self.text[self.at : self.at + 1]
        self.at += 1
        if character == "\n":
            self.line += 1
        return character

    def peek(self) -> str:
        """Return the next character; empty at the end."""
        return self.text[self.at : self.at + 1]


def lex(text: str, file: str, environment: Mapping[str, str], findings: Findings) -> tuple[Token, ...]:
    """Return the tokens of a text; what is odd is noted in the findings."""
    cursor = _Cursor(text)
    tokens: list[Token] = []
    line_of_last = 0
    while _skip(cursor):
        place = Place(file, cursor.line)
        quoted = cursor.peek() == '"'
        word = _quoted(cursor, place, findings) if quoted else _plain(cursor)
        first = place.line != line_of_last
        line_of_last = cursor.line
        tokens.append(Token(_expand(word, environment, place, findings), place, first, quoted))
    return tuple(tokens)


def _skip(cursor: _Cursor) -> bool:
    """Go to the beginning of the next token; return False at the end of the text."""
    while character := cursor.peek():
        if character == "#":
            while cursor.peek() not in {"", "\n"}:
                cursor.take()
        elif not character.isspace():
            return True
        else:
            cursor.take()
    return False


def _plain(cursor: _Cursor) -> str:
    start = cursor.at
    while (character := cursor.peek()) and character != "#" and not character.isspace():
        cursor.take()
    return cursor.text[start : cursor.at]


def _quoted(cursor: _Cursor, place: Place, findings: Findings) -> str:
    cursor.take()
    word: list[str] = []
    while character := cursor.take():
        if character == '"':
            return "".join(word)
        if character == "\\" and cursor.peek() == '"':
            character = cursor.take()
        word.append(character)
    findings.error(place, 'the quotation that begins here never ends: close it with "')
    return "".join(word)


def _expand(word: str, environment: Mapping[str, str], place: Place, findings: Findings) -> str:
    """Put environment variables in; one that is not set is empty, which is seldom meant."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in environment:
            findings.warning(place, f"the environment variable {name} is not set: it stands for nothing here")
        return environment.get(name, "")

    return _VARIABLE.sub(value, word) if "{" in word else word
