"""Dockerfile and tools/image make the same image: of the same packages, by the same steps, with the same settings."""

import importlib.machinery
import importlib.util
import json
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STEPS = (ROOT / "tools/image-steps").read_text()


@pytest.fixture(scope="module")
def tool():
    loader = importlib.machinery.SourceFileLoader("tool_image", str(ROOT / "tools/image"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_both_ways_take_the_same_steps(tool):
    """A package can only be added to the list that the steps read, and a step only to both."""
    assert re.findall(r"image-steps (\w+)", re.sub(r"^#.*", "", DOCKERFILE, flags=re.MULTILINE)) == [layer.step for layer in tool.layers()]
    last = "\n".join(rest for _, rest in tool.instructions(DOCKERFILE))
    assert "apt-get" not in last, "no package of its own in the last stage"
    assert "pip" not in last
    assert "image-packages" in STEPS
    assert f"debian:{tool.RELEASE}-" in DOCKERFILE


def test_the_base_is_pinned_by_its_content():
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"debian:\w+-\d{8}-slim@sha256:[0-9a-f]{64}", bases[0])
    assert bases[1:] == ["system", "system"]


def test_settings_are_read_from_the_dockerfile(tool):
    found = tool.settings(DOCKERFILE)
    assert found["Entrypoint"] == ["pointsman"]
    assert found["Cmd"] == ["run"]
    assert "PYTHONSAFEPATH=1" in found["Env"]
    assert found["Env"][0].startswith("PATH=/opt/pointsman/bin:")


def test_every_dependency_is_pinned_in_a_version_that_is_allowed():
    pins = dict(re.findall(r"^([\w.-]+)==([\d.]+) --hash", (ROOT / "tools/image-lock").read_text(), re.MULTILINE))
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = dict(re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(?:>=([\d.]+))?", one).groups() for one in asked)

    def number(text):
        return tuple(map(int, text.split(".")))

    names = {name.lower().replace("_", "-"): least for name, least in wanted.items()}
    assert set(names) - set(pins) == set(), "run tools/image --lock"
    assert [name for name, least in names.items() if least and number(pins[name]) < number(least)] == [], "run tools/image --lock"


def test_the_wheel_is_made_of_everything_that_is_imported_and_of_nothing_else(tool):
    found = {path.as_posix() for path in tool.sources()}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    assert [folder for folder in packages if f"{folder}/__init__.py" not in found] == []
    assert {"pyproject.toml", "README.md", "LICENSE", "proxy/demo/shop", "examples/shop/web.yaml"} <= found
    assert not [path for path in found if path.startswith(("tests/", ".git", "docs/", "bench/", "tools/")) or "__pycache__" in path]


def test_a_change_of_the_program_leaves_the_layers_below_alone(tool, monkeypatch):
    before = [layer.place.name for layer in tool.layers()]
    monkeypatch.setattr(tool, "content", lambda: "another")
    after = [layer.place.name for layer in tool.layers()]
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_the_same_files_make_the_same_archive(tool, tmp_path, monkeypatch):
    """Order, times and owners' names of today do not show."""
    monkeypatch.setattr(tool, "CACHE", tmp_path)
    digests = []
    for turn in ("first", "second"):
        root = tmp_path / turn / "root"
        names = ["b", "a/c", "a/d"] if turn == "first" else ["a/d", "b", "a/c"]
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        (root / "link").symlink_to("b")
        layer = tool.Layer("system", tmp_path / turn)
        tool.pack(root, layer.tar)
        archive = tmp_path / f"{turn}.tar"
        tool.assemble((layer,), "pointsman:test", archive)
        digests.append(tool.sha256(archive))
    assert digests[0] == digests[1]
    with tarfile.open(archive) as opened:
        [manifest] = json.load(opened.extractfile("manifest.json"))
        config = json.load(opened.extractfile(manifest["Config"]))
        [name] = manifest["Layers"]
        assert config["rootfs"]["diff_ids"] == [f"sha256:{name.removesuffix('/layer.tar')}"]
        assert config["config"]["Entrypoint"] == ["pointsman"]
        with tarfile.open(fileobj=opened.extractfile(name)) as inner:
            assert inner.getnames() == ["a", "a/c", "a/d", "b", "link"]


def test_a_refresh_makes_the_base_and_all_that_stands_on_it_anew(tool, tmp_path, monkeypatch, capsys):
    made = []

    def make(layer, below):
        made.append(layer.step)
        layer.place.mkdir(exist_ok=True)
        layer.tar.write_text("")

    monkeypatch.setattr(tool, "CACHE", tmp_path)
    monkeypatch.setattr(tool, "check_machine", lambda: None)
    monkeypatch.setattr(tool, "make", make)
    monkeypatch.setattr(tool, "assemble", lambda layers, tag, archive: archive.write_text(tag))
    archive, layers = tmp_path / "one.tar", tool.layers()
    tool.build("one", archive, layers, refresh=False)
    tool.build("two", archive, layers, refresh=False)
    assert made == ["system", "libraries", "program"]
    assert archive.read_text() == "one"
    assert "--refresh" not in capsys.readouterr().err
    old = tool.time.time() - (tool.OLD + 1) * 86_400
    tool.os.utime(layers[0].tar, (old, old))
    tool.build("three", archive, layers, refresh=False)
    assert f"{tool.OLD + 1} days old" in capsys.readouterr().err
    made.clear()
    tool.build("four", archive, layers, refresh=True)
    assert made == ["system", "libraries", "program"]
    assert archive.read_text() == "four"


def test_nothing_is_taken_that_debian_did_not_sign(tool, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(tool, "run", lambda *command, log: ran.append(command))
    (tmp_path / "etc/apt").mkdir(parents=True)
    monkeypatch.setattr(tool, "KEYS", tmp_path / "keys")
    with pytest.raises(SystemExit):
        tool.base(tmp_path, tmp_path / "log")
    assert ran == []
    (tmp_path / "keys").write_text("")
    tool.base(tmp_path, tmp_path / "log")
    assert {"--force-check-gpg", f"--keyring={tmp_path}/keys"} <= set(ran[0])
