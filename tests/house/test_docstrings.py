"""A module's docstring is its design: what, why so, who is next. What is public says what it means."""

import ast

LINES = 30


def test_module_docstrings_tell_the_design_briefly(sources, judge):
    offences = []
    for source in sources:
        text = ast.get_docstring(source.tree)
        if text is None:
            offences.append(f"{source.path}:1: no module docstring")
        elif (lines := text.count("\n") + 1) > LINES:
            offences.append(f"{source.path}:1: module docstring of {lines} lines")
    judge(offences, f"say in at most {LINES} lines what the module is, why it is so, and who reads it next; the rest belongs into docs/")


def public(body):
    """Yield the public classes and functions of a body, with those inside public classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def overload(node):
    return any(isinstance(part, ast.Name) and part.id == "overload" for part in getattr(node, "decorator_list", ()))


def test_public_names_have_docstrings(sources, judge):
    offences = [
        f"{source.at(node)}: {node.name}"
        for source in sources
        for node in public(source.tree.body)
        if not ast.get_docstring(node) and not overload(node)
    ]
    judge(offences, "say what it means: units, errors, and the specification number where one applies")
