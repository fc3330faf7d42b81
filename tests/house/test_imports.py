"""Who may import whom: the contracts of pyproject.toml hold, and there is no circle."""

import ast
import subprocess
import sys
from pathlib import Path


def test_the_import_contracts_hold(root):
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}\n-> the contracts stand in pyproject.toml; move the code, not the contract"


def circle(graph):
    """Return one circle of a graph {name: {names}} as a path that ends where it began, or nothing."""
    done = set()

    def walk(name, path):
        if name in path:
            return [*path[path.index(name):], name]
        if name in done:
            return []
        for next_name in sorted(graph.get(name, ())):
            if found := walk(next_name, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_no_import_goes_in_a_circle(sources, judge):
    names = {source.name for source in sources}
    graph = {source.name: {name.removeprefix("pointsman.") for _, name in source.imports()} & names - {source.name} for source in sources}
    found = circle(graph)
    judge([" -> ".join(found)] if found else [], "two modules that need each other are one concept, or a third one hides between them")


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_packages_do_not_import_by_relative_path(sources, judge):
    statements = ((source, node) for source in sources for node in ast.walk(source.tree))
    offences = [source.at(node) for source, node in statements if isinstance(node, ast.ImportFrom) and node.level]
    judge(offences, "import by the whole name: from pointsman.folder.module import Name")
