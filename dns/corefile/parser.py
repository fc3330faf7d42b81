"""Tokens to server blocks of directives, with snippets and imports pasted in (COR-03 to COR-06).

Two steps, both pure. *Pasting* walks the tokens once: a block whose only key is `(name)` is a snippet and is set aside; an `import` at the
beginning of a line becomes the tokens that it names, a snippet's or a file's, again pasted. Files come from a `Library`, a function that
the caller brings, so that tests need no disk. *Grouping* then sees only keys, directives and their properties.

A directive's name says nothing here: which ones there are, and what they mean, is the table's concern.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from pointsman.dns.corefile.findings import Findings, Place
from pointsman.dns.corefile.lexer import Token, lex

SNIPPETS = 10_000
"""At most this many snippet imports (COR-05)."""
FILES = 100_000
"""At most this many file imports (COR-05)."""
DEPTH = 200
"""Imports inside imports; more is a circle."""


class File(Struct, frozen=True):
    """A file that an import found: its name as it is to be told, and its text."""

    name: str
    text: str


Library = Callable[[str, str], tuple[File, ...] | str]
"""(pattern, importing file) to the files of that pattern; a text says why there is no such file."""


class Line(Struct, frozen=True):
    """A property of a directive: its name and arguments, at least the name."""

    name: str
    args: tuple[Token, ...]
    place: Place


class Directive(Struct, frozen=True):
    """A plugin's line with its arguments, and its properties if a block follows."""

    name: str
    args: tuple[Token, ...]
    lines: tuple[Line, ...]
    place: Place


class Block(Struct, frozen=True):
    """A server block: its keys as written, and its directives in file order."""

    keys: tuple[Token, ...]
    directives: tuple[Directive, ...]


def parse(root: File, library: Library, environment: Mapping[str, str], findings: Findings) -> tuple[Block, ...]:
    """Return the server blocks of a Corefile; what is wrong is noted, and the rest still read."""
    pasting = _Pasting(library, environment, findings)
    tokens = pasting.paste(lex(root.text, root.name, environment, findings), 0)
    return tuple(_Grouping(tokens, findings).blocks())


class _Pasting:
    """Snippets seen so far, and how much was pasted."""

    def __init__(self, library: Library, environment: Mapping[str, str], findings: Findings) -> None:
        self._library = library
        self._environment = environment
        self._findings = findings
        self._snippets: dict[str, tuple[Token, ...]] = {}
        self._active: list[str] = []
        self._pasted = 0
        self._opened = 0

    def paste(self, tokens: tuple[Token, ...], depth: int) -> list[Token]:
        """Return the tokens without snippets and with imports replaced."""
        made: list[Token] = []
        at = braces = 0
        while at < len(tokens):
            token = tokens[at]
            line = _line(tokens, at)
            if token.first and token.text == "import" and not token.quoted:
                made += self._import(token, line[1:], depth)
                at += len(line)
                continue
            if token.first and not braces and (name := _snippet_name(line)):
                at = self._set_aside(name, token, tokens, at + len(line))
                continue
            braces += token.opens - token.closes
            made.append(token)
            at += 1
        return made

    def _set_aside(self, name: str, token: Token, tokens: tuple[Token, ...], at: int) -> int:
        """Keep a snippet's tokens under its name; return where the text goes on."""
        start, braces = at, 1
        while at < len(tokens):
            braces += tokens[at].opens - tokens[at].closes
            at += 1
            if not braces:
                break
        else:
            self._findings.error(token.place, f"the snippet {name} is never closed: end it with }} on a line of its own")
            return at
        if name in self._snippets:
            self._findings.error(token.place, f"redeclaration of previously declared snippet {name}: give it another name")
        self._snippets[name] = tokens[start : at - 1]
        return at

    def _import(self, token: Token, args: tuple[Token, ...], depth: int) -> list[Token]:
        """Return what stands in the place of an import."""
        wrong = self._findings.error
        if not args:
            wrong(token.place, "Wrong argument count or unexpected line ending after 'import': name a snippet, a file or a pattern")
        elif len(args) > 1:
            wrong(args[1].place, "Import takes only one argument (glob pattern or file): write one import per line")
        elif depth >= DEPTH:
            wrong(token.place, f"imports inside imports are deeper than {DEPTH}: {args[0].text} leads to itself")
        elif args[0].text in self._active:
            wrong(token.place, f"the snippet {args[0].text} imports itself, directly or through others: take this import out")
        elif args[0].text in self._snippets:
            self._pasted += 1
            if self._pasted <= SNIPPETS:
                self._active.append(args[0].text)
                made = self.paste(_at_line_start(self._snippets[args[0].text]), depth + 1)
                self._active.pop()
                return made
            if self._pasted == SNIPPETS + 1:
                wrong(token.place, f"more than {SNIPPETS} snippet imports: the snippets import one another over and over")
        else:
            return self._files(args[0], depth)
        return []

    def _files(self, pattern: Token, depth: int) -> list[Token]:
        found = self._library(pattern.text, pattern.place.file) if pattern.text else "Import requires a non-empty path"
        if isinstance(found, str):
            self._findings.error(pattern.place, found)
            return []
        if not found:
            self._findings.warning(pattern.place, f"No files matching import glob pattern: {pattern.text}")
        made: list[Token] = []
        for file in found:
            self._opened += 1
            if self._opened == FILES + 1:
                self._findings.error(pattern.place, f"more than {FILES} file imports: the files import one another over and over")
            if self._opened <= FILES:
                made += self.paste(lex(file.text, file.name, self._environment, self._findings), depth + 1)
        return made


def _line(tokens: tuple[Token, ...], at: int) -> tuple[Token, ...]:
    """Return the tokens from here to the end of the line, without what follows an opening brace."""
    end = at + 1
    while end < len(tokens) and not tokens[end].first and not tokens[end - 1].opens:
        end += 1
    return tokens[at:end]


def _snippet_name(line: tuple[Token, ...]) -> str:
    """Return the name if a line begins a snippet, else nothing."""
    key = line[0].text
    return key[1:-1] if len(line) == 2 and line[1].opens and len(key) > 2 and key.startswith("(") and key.endswith(")") else ""


def _at_line_start(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Return the tokens of a snippet so that the first begins a line, also if it stood beside the brace."""
    return (Token(tokens[0].text, tokens[0].place, True, tokens[0].quoted), *tokens[1:]) if tokens else ()


class _Grouping:
    """A walk over pasted tokens."""

    def __init__(self, tokens: list[Token], findings: Findings) -> None:
        self._tokens = tokens
        self._findings = findings
        self._at = 0

    def blocks(self) -> Iterator[Block]:
        """Yield the server blocks."""
        first = True
        while self._at < len(self._tokens):
            keys, braces = self._keys()
            directives = tuple(self._directives(keys, braces))
            if keys and not braces and not first:
                text = f"the server block {keys[0].text} needs braces: only a file of one block may leave them out"
                self._findings.error(keys[0].place, text)
            if keys:
                first = False
                yield Block(keys, directives)

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _keys(self) -> tuple[tuple[Token, ...], bool]:
        """Return the keys of the next block and whether a brace opened it."""
        keys: list[Token] = []
        comma = False
        while (token := self._peek()) is not None:
            if token.opens and keys and token.first and not comma:
                text = "the opening brace must stand on the line of the keys: move { to the end of the line above"
                self._findings.error(token.place, text)
            if token.opens:
                self._next()
                if comma:
                    self._findings.error(token.place, "Expected another address but had '{' - check for extra comma")
                if not keys:
                    self._findings.error(token.place, "a server block needs a key before {, such as .:53")
                return tuple(keys), True
            if token.closes:
                self._findings.error(self._next().place, "Unexpected '}' because no matching opening brace")
                continue
            if keys and token.first and not comma:
                return tuple(keys), False
            self._next()
            comma = token.text.endswith(",")
            if text := token.text.removesuffix(","):
                keys.append(Token(text, token.place, token.first, token.quoted))
        if comma:
            place = keys[-1].place if keys else self._tokens[-1].place
            self._findings.error(place, "the file ends after a comma: write the next key, or take the comma away")
        return tuple(keys), False

    def _directives(self, keys: tuple[Token, ...], braces: bool) -> Iterator[Directive]:
        """Yield the directives of a block; without braces they go to the end of the file."""
        while (token := self._peek()) is not None:
            if token.closes and braces:
                self._next()
                return
            if token.closes or token.opens:
                self._findings.error(self._next().place, f"Unexpected '{token.text}': a file of several blocks needs braces around each")
                continue
            yield self._directive()
        if braces:
            place = keys[0].place if keys else self._tokens[-1].place
            self._findings.error(place, "Unexpected EOF: this server block is never closed; end it with } on a line of its own")

    def _directive(self) -> Directive:
        head = self._next()
        args: list[Token] = []
        lines: tuple[Line, ...] = ()
        while (token := self._peek()) is not None and not token.first:
            self._next()
            if token.opens:
                lines = tuple(self._lines(head))
                self._rest_of_line()
                break
            if token.closes:
                self._findings.error(token.place, "Unexpected '}' because no matching opening brace: } stands on a line of its own")
                break
            args.append(token)
        return Directive(head.text, tuple(args), lines, head.place)

    def _rest_of_line(self) -> None:
        """Refuse what follows a closing brace on its line."""
        while (token := self._peek()) is not None and not token.first:
            self._findings.error(self._next().place, f"Unexpected '{token.text}' after a closing brace: write it on a line of its own")

    def _lines(self, head: Token) -> Iterator[Line]:
        """Yield the properties up to the closing brace."""
        while (token := self._peek()) is not None:
            self._next()
            if token.closes:
                return
            args: list[Token] = []
            while (word := self._peek()) is not None and not word.first:
                if word.opens or word.closes:
                    text = f"Unexpected '{word.text}' in a property of {head.text}: a brace stands alone on its line"
                    self._findings.error(word.place, text)
                    if word.closes:
                        break
                self._next()
                args.append(word)
            yield Line(token.text, tuple(args), token.place)
        self._findings.error(head.place, f"Unexpected EOF: the block of {head.text} is never closed; end it with }} on a line of its own")
