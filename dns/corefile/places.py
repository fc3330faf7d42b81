"""Places in a template's text where fields of the query go in: the plain forms of Go's text/template.

`{{ .Name }}`, `{{ .Group.ip }}`, `{{ index .Match 1 }}` and their like are enough for what Corefiles do with templates; pipelines,
functions, variables and conditions are refused with the text that is meant, never ignored (COR-30).
"""

import re

from msgspec import Struct

PLAIN = frozenset(("Zone", "Name", "Class", "Type", "Remote"))
_PLACE = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.(\w+)|\.Question\.(Name)|\.Group\.(\w+)|index \.Group \"(\w+)\"|\(?index \.Match (\d+)\)?")


class Field(Struct, frozen=True):
    """A place: a plain field by name, a named group, or a group by number."""

    name: str = ""
    group: str = ""
    number: int = -1


Part = str | Field


def parts(text: str) -> tuple[Part, ...]:
    """Return text and places in turn; ValueError says which place cannot be filled."""
    made: list[Part] = []
    at = 0
    for place in _PLACE.finditer(text):
        if text[at : place.start()]:
            made.append(text[at : place.start()])
        at = place.end()
        made.append(_field(place[1].strip(), place[0]))
    if "{{" in text[at:]:
        raise ValueError(f"'{text}' opens a place with {{{{ that is never closed")
    return (*made, text[at:]) if text[at:] else tuple(made)


def _field(inner: str, whole: str) -> Field:
    found = _FIELD.fullmatch(inner)
    if found is None or (found[1] and found[1] not in PLAIN):
        raise ValueError(
            f"the template has {whole}: this resolver fills in .Zone .Name .Class .Type .Remote .Group.NAME and index .Match N; "
            "functions, pipelines and variables are supported by CoreDNS only"
        )
    return Field(found[1] or found[2] or "", found[3] or found[4] or "", int(found[5] or -1))
