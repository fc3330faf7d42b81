import pytest
from pointsman.proxy.config import Config
from pointsman.proxy.settings import FLAG_ONLY, KUBE_PROXY, OURS, PATHS, POINTSMAN, SCHEMAS


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
