"""Names say what a thing is; these say nothing, and things gather under them."""

import ast
import re

BANNED = {"manager", "helper", "util", "common", "misc", "base", "data", "info", "proxier", "handler"}


def words(name):
    """Split a module or class name into lower-case words, without a plural s."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower().removesuffix("s") for part in parts} | {part.lower() for part in parts}


def test_modules_and_classes_have_telling_names(sources, judge):
    offences = []
    for source in sources:
        if banned := words(source.name.replace(".", "_")) & BANNED:
            offences.append(f"{source.path}:1: module name says {', '.join(sorted(banned))}")
        offences += [
            f"{source.at(node)}: class {node.name} says {', '.join(sorted(banned))}"
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ClassDef) and (banned := words(node.name) & BANNED)
        ]
    judge(offences, "name it by its part in the house (docs/design.md, \"Words\")")


def test_words_are_split_as_people_read_them():
    assert words("ServiceInfo") == {"service", "info"}
    assert words("HTTPHandlers") == {"http", "handler", "handlers"}
    assert words("dataplane_contract") == {"dataplane", "contract"}
