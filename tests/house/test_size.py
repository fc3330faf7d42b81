"""Small things: a module holds one concept, a function fits on a screen, an object has few attributes."""

import ast

MODULE_LINES = 400
FUNCTION_LINES = 60
ATTRIBUTES = 12


def test_modules_are_short(sources, judge):
    offences = [f"{source.path}:{MODULE_LINES}: {lines} lines" for source in sources if (lines := source.text.count("\n")) >= MODULE_LINES]
    judge(offences, f"a module has fewer than {MODULE_LINES} lines and one concept: move the second concept into a module of its own")


def test_functions_are_short(sources, judge):
    offences = []
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines >= FUNCTION_LINES:
                    offences.append(f"{source.at(node)}: {node.name} has {lines} lines")
    judge(offences, f"a function has fewer than {FUNCTION_LINES} lines: name its steps and make them functions")


def state(class_: ast.ClassDef) -> set[str]:
    """Return the attributes that a class's own methods assign on `self`."""
    found = set()
    for node in ast.walk(class_):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self":
                    found.add(part.attr)
    return found


def test_objects_with_state_have_few_attributes(sources, judge):
    """Value structs are exempt: they mirror the API, the configuration or a route, and hold no state."""
    offences = [
        f"{source.at(node)}: {node.name} has {len(attributes)} attributes: {', '.join(sorted(attributes))}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and len(attributes := state(node)) > ATTRIBUTES
    ]
    judge(offences, f"an object keeps at most {ATTRIBUTES} attributes: group those that change together into a part of their own")


def test_the_counting_sees_what_it_counts():
    class_ = ast.parse("class A:\n def f(self):\n  self.a, self.b = 1, 2\n  self.c: int = 3\n  self.d += 1\n  other.e = 1").body[0]
    assert state(class_) == {"a", "b", "c", "d"}
