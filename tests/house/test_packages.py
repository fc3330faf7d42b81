"""Packaging: the folders, the package list and the links for mypy agree, and mypy really checks what is in them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def test_the_package_list_is_the_folders(sources, pyproject, judge):
    """A folder that is not listed is missing from the wheel, and nobody notices in an editable checkout."""
    there = {f"pointsman.{source.name}" for source in sources if source.path.name == "__init__.py"}
    listed = set(pyproject["tool"]["setuptools"]["packages"])
    offences = [f"pyproject.toml: {name} is not listed in tool.setuptools.packages" for name in there - listed]
    offences += [f"pyproject.toml: {name} is listed, but there is no such folder" for name in listed - there]
    judge(offences, "list every folder that has an __init__.py, and give it a line in tool.setuptools.package-dir")


def test_every_package_is_mapped_to_its_folder(pyproject, judge):
    mapped = pyproject["tool"]["setuptools"]["package-dir"]
    wanted = {name: name.removeprefix("pointsman.").replace(".", "/") for name in pyproject["tool"]["setuptools"]["packages"]}
    wrong = [name for name, folder in wanted.items() if mapped.get(name) != folder]
    judge([f"pyproject.toml: {name} is not mapped to {wanted[name]}" for name in wrong], "folder a/b is imported as pointsman.a.b")


def test_every_package_folder_carries_types(root, sources, judge):
    tops = {source.path.parts[0] for source in sources}
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"tests", "bench", "tools"}
    judge([f"{name}/py.typed is missing" for name in packages - tops], "add the empty file, or mypy and users of the wheel see no types")


def test_import_contracts_know_every_package(folders, pyproject, judge):
    roots = set(pyproject["tool"]["importlinter"]["root_packages"])
    missing = {f"pointsman.{name}" for name in folders} - roots
    judge([f"pyproject.toml: {name} is not in tool.importlinter.root_packages" for name in missing], "name it there and give it its layer")


def test_every_dependency_has_its_reason(root, judge):
    offences = []
    inside = False
    for number, line in enumerate((root / "pyproject.toml").read_text().splitlines(), 1):
        inside = bool(re.match(r"(dependencies|dev) = \[", line)) or (inside and not line.startswith("]"))
        if inside and line.startswith('    "') and not re.search(r"#\s*\w.{3,}", line):
            offences.append(f"pyproject.toml:{number}: {line.strip()}")
    judge(offences, "say beside a dependency what it is for, and what it costs where it is imported in production")


def test_a_bare_machine_gets_every_program_that_is_started(written, root, judge):
    """Seen on a minimal Debian: tests that were green where somebody had once installed a tool by hand."""
    brought = set(re.search(r"readonly PROGRAMS=\((.*?)\)", (root / "tools" / "setup").read_text()).group(1).replace(":", " ").split())
    belongs = {"bridge": "ip", "ss": "ip", "tc": "ip"}
    tools = "|".join(["arping", "conntrack", "ethtool", "ip", "iperf3", "ipset", "ipvsadm", "modprobe", "nft", "ping", "tcpdump", *belongs])
    foreign = re.compile(rf"""["']({tools})(?:["'](?=[,\]])| -| \w+ )""")
    offences = [
        f"{path.relative_to(root)}:{number}: {tool}"
        for path in written
        if path.suffix == ".py" and path.name != "test_packages.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for tool in foreign.findall(line)
        if belongs.get(tool, tool) not in brought
    ]
    judge(offences, "add program:package to PROGRAMS in tools/setup")


def test_mypy_finds_the_packages(root, folders, judge):
    """Type checkers do not follow setuptools' mapping: without these links mypy checks nothing and prints success."""
    subprocess.run(["tools/setup", "links"], cwd=root, check=True, stdin=subprocess.DEVNULL)
    links = {path.name: path.resolve() for path in (root / ".dev" / "pointsman").iterdir()}
    assert links == {name: root / name for name in folders}, "links and folders differ -> rm -r .dev; tools/setup links"


def test_mypy_sees_a_planted_type_error_in_every_package(root, pyproject, tmp_path, judge):
    """The real configuration and the real links, on a tree with the same folders: every planted error is reported, and nothing else."""
    (tmp_path / "tools").mkdir()
    shutil.copy(root / "tools" / "setup", tmp_path / "tools" / "setup")
    shutil.copy(root / "pyproject.toml", tmp_path / "pyproject.toml")
    planted = []
    for name, folder in pyproject["tool"]["setuptools"]["package-dir"].items():
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").touch()
        if "/" not in folder:
            (place / "py.typed").touch()
        (place / "right.py").write_text("def number() -> int:\n    return 1\n")
        (place / "wrong.py").write_text(f"from {name}.right import number\n\n\ndef text() -> str:\n    return number()\n")
        planted.append(f"{folder}/wrong.py:5: error: Incompatible return value type")
    subprocess.run(["tools/setup", "links"], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    ran = subprocess.run([sys.executable, "-m", "mypy"], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    errors = [line.removeprefix(".dev/pointsman/") for line in ran.stdout.splitlines() if ": error: " in line]
    unseen = [line for line in planted if not any(error.startswith(line) for error in errors)]
    judge([f"not seen: {line}" for line in unseen], f"mypy said:\n{ran.stdout}{ran.stderr}")
    assert len(errors) == len(planted), ran.stdout


def test_the_checkout_is_what_is_imported(root):
    """An installed copy must not be tested in place of the checkout."""
    import pointsman.routing  # noqa: PLC0415

    assert Path(pointsman.routing.__file__).resolve().parent == root / "routing"
