"""What the house tests share: every source file of the packages, parsed once, and one way to report offences.

A house rule that is only written down is forgotten; each one is a test here, and its failure names file and line and says what to do.
"""

import ast
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """A module of the packages: where it is, its import name below `pointsman`, its text and its syntax tree."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"

    def imports(self) -> Iterator[tuple[ast.stmt, str]]:
        """Yield every imported module with its statement, also from inside functions; `from a import b` yields a and a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node, node.module
                yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def folders() -> tuple[str, ...]:
    """The top-level package folders: those that carry types."""
    return tuple(sorted(path.parent.name for path in ROOT.glob("*/py.typed")))


@pytest.fixture(scope="session")
def sources(folders: tuple[str, ...]) -> tuple[Source, ...]:
    """Every module of every package folder."""
    found = []
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        found.append(Source(relative, name, text, ast.parse(text, str(relative))))
    return tuple(found)


@pytest.fixture(scope="session")
def written(root: Path) -> tuple[Path, ...]:
    """Every text file that people wrote: all but what tools made (.gitignore)."""
    made = {".git", ".venv", ".dev", ".cache", "build", "dist", "__pycache__", ".hypothesis"}
    made |= {f".{tool}_cache" for tool in ("mypy", "ruff", "pytest", "import_linter")}
    kinds = {"", ".py", ".md", ".toml", ".yaml", ".yml", ".json", ".sh", ".txt", ".cfg"}

    def by_people(path: Path) -> bool:
        parts = path.relative_to(root).parts
        return not made & set(parts) and not any(part.endswith(".egg-info") for part in parts)

    return tuple(path for path in sorted(root.rglob("*")) if path.suffix in kinds and path.is_file() and by_people(path))


@pytest.fixture(scope="session")
def judge() -> Callable[[Iterable[str], str], None]:
    """Fail if there are offences, listing each with what to do about it."""

    def check(offences: Iterable[str], advice: str) -> None:
        listed = sorted(offences)
        if listed:
            pytest.fail("\n".join([*listed, f"-> {advice}"]), pytrace=False)

    return check
