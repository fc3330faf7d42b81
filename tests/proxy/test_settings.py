from pathlib import Path

import pytest
from pointsman.proxy.config import Config
from pointsman.proxy.config_file import read
from pointsman.proxy.flag_table import RUN_FLAGS
from pointsman.proxy.settings import DURATION, FLAG_ONLY, KUBE_PROXY, OURS, PATHS, POINTSMAN, SCHEMAS, Schema
from pointsman.proxy.values import spelled


def test_every_field_has_exactly_one_place_in_the_file() -> None:
    fields = [setting.field for schema in SCHEMAS for setting in schema.settings]
    assert sorted([*fields, *FLAG_ONLY]) == sorted(Config.__struct_fields__)
    assert set(PATHS) == set(fields)


def test_paths_are_unique_and_none_is_inside_another() -> None:
    for schema in SCHEMAS:
        paths = [setting.path for setting in schema.settings] + list(schema.unused)
        assert len(set(paths)) == len(paths)
        assert not [(one, other) for one in paths for other in paths if other.startswith(f"{one}.")]


def test_ours_are_not_kube_proxys() -> None:
    assert {setting.field for setting in POINTSMAN.settings} == OURS
    assert not OURS & {setting.field for setting in KUBE_PROXY.settings}


def test_what_is_written_is_what_is_read() -> None:
    config = Config()
    for schema in SCHEMAS:
        for setting in schema.settings:
            value = getattr(config, setting.field)
            written = setting.kind.write(value)
            assert written is None or setting.kind.read(written) == value, setting.path


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("mode", 5, "5 is no text"),
        ("mode", True, "True is no text"),
        ("enableProfiling", "yes", "'yes' is neither true nor false"),
        ("oomScoreAdj", "5", "'5' is no whole number"),
        ("oomScoreAdj", 2**31, "too large"),
        ("oomScoreAdj", True, "no whole number"),
        ("clientConnection.qps", "fast", "no number"),
        ("configSyncPeriod", 30, "30 is no duration; write it as 30s"),
        ("configSyncPeriod", "soon", "'soon' is no duration"),
        ("nodePortAddresses", "10.0.0.0/8", "no list of texts"),
        ("nodePortAddresses", [1], "no list of texts"),
        ("featureGates", {"A": "true"}, "no mapping of names to true or false"),
        ("featureGates", ["x" * 100], "no mapping"),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(path: str, value: object, text: str) -> None:
    kind = next(setting.kind for setting in KUBE_PROXY.settings if setting.path == path)
    with pytest.raises((ValueError, TypeError), match=text):
        kind.read(value)


DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.kind)
def test_the_document_has_every_setting_with_its_flag_and_default(schema: Schema) -> None:
    usual = Config()
    flags = {field: "`-v`" if flag.short else f"`--{flag.name}`" for flag in RUN_FLAGS for field in (flag.field, *flag.also)}
    expected = []
    for setting in schema.settings:
        value = spelled(getattr(usual, setting.field), time=setting.kind is DURATION)
        expected.append([f"`{setting.path}`", flags.get(setting.field, "-"), f"`{value}`" if value else "-"])
    assert [row[:3] for row in rows(schema.kind)] == expected
    assert all(len(row) == 4 and len(row[3]) > 5 for row in rows(schema.kind))
    assert f"`{schema.api_version}`" in DOCUMENT


def test_the_document_has_every_other_flag() -> None:
    others = [flag for flag in RUN_FLAGS if flag.field not in PATHS]
    named = {name for row in rows("Flags without a field") for name in row[0].replace("`", "").split(", ")}
    assert named == {f"--{flag.name}" for flag in others}


def test_the_document_has_every_path_that_means_nothing() -> None:
    assert [path for path in KUBE_PROXY.unused if f"`{path}`" not in DOCUMENT] == []


def test_the_example_in_the_document_is_fine() -> None:
    example = DOCUMENT.partition("```yaml\n")[2].partition("```")[0]
    content = read(example.encode())
    assert (content.problems, content.remarks) == ((), ())
    assert content.values["external_ips"].value == "deny"
