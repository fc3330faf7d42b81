"""tools/chart: what it makes of comments and tables, and that it has been run."""

import importlib.machinery
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from pointsman.proxy import settings
from pointsman.proxy.modes import MODES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/pointsman"
SAMPLE = """
# --- a heading
image:
  # -- Where it is.
  name: a
  # -- Which one.
  tag: ""
# -- All of it.
nodes:
  kubernetes.io/os: linux
plain: 1
"""


@pytest.fixture(scope="module")
def tool():
    loader = importlib.machinery.SourceFileLoader("tool_chart", str(ROOT / "tools/chart"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_what_is_made_is_up_to_date(tool):
    stale = [path.name for path, text in tool.wanted().items() if path.read_text() != text]
    assert stale == [], "run tools/chart --write"


def test_every_value_has_its_meaning(tool):
    assert tool.unexplained((CHART / "values.yaml").read_text()) == []


def test_values_are_read_with_path_default_and_meaning(tool):
    assert list(tool.values(SAMPLE)) == [
        ("image.name", '"a"', "Where it is."), ("image.tag", '""', "Which one."),
        ("nodes", '{"kubernetes.io/os": "linux"}', "All of it."),
    ]
    assert tool.unexplained(SAMPLE) == ["plain"]


def test_the_table_replaces_the_old_one_only(tool):
    old = f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n"
    new = tool.readme(old, SAMPLE)
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert "old" not in new
    assert tool.readme(new, SAMPLE) == new


def paths(schema, prefix=""):
    for name, inner in schema["properties"].items():
        yield f"{prefix}{name}"
        if "properties" in inner:
            yield from paths(inner, f"{prefix}{name}.")


def test_the_schema_knows_every_field_of_both_documents_and_every_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    for one in settings.SCHEMAS:
        known = set(paths(schema["definitions"][one.kind]))
        assert {setting.path for setting in one.settings} | set(one.unused) - known <= known
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == {*values, "global"}
    assert schema["properties"]["mode"]["enum"] == ["", *MODES]
    assert schema["definitions"]["KubeProxyConfiguration"]["properties"]["mode"]["enum"] == [None, "", *MODES]


@pytest.mark.parametrize("text", ["0", "0s", "1m30s", "100ms", "24h", "1.5h"])
def test_durations_as_go_writes_them_are_taken(tool, text):
    assert re.search(tool.DURATION["pattern"], text)


@pytest.mark.parametrize("text", ["10", "10 sec", "1d", "s"])
def test_other_durations_are_not(tool, text):
    assert not re.search(tool.DURATION["pattern"], text)


def test_the_versions_are_the_projects():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    [version] = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert chart["version"] == chart["appVersion"] == version
