import pytest
from pointsman.proxy.flag_table import RUN_FLAGS, UNUSED_FLAGS
from pointsman.proxy.idle import SHAPES, flush_period, quantity, vmodule, wrong
from pointsman.proxy.settings import KUBE_PROXY


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("vmodule", "foo"), ("vmodule", "foo=2,bar=x"), ("vmodule", "=3"), ("log-flush-frequency", "abc"), ("log-flush-frequency", "-1s"),
        ("log-flush-frequency", "0s"), ("log-json-info-buffer-size", "abc"), ("log-text-info-buffer-size", "4Q"),
        ("log-text-split-stream", "maybe"), ("log-json-split-stream", "2"),
    ],
)
def test_cfg_41_flags_that_kube_proxy_refuses_are_refused(flag: str, value: str) -> None:
    read = next(one.read for one in RUN_FLAGS if one.name == flag)
    with pytest.raises(ValueError, match=r"\w"):
        read(value)


def test_flags_that_kube_proxy_takes_are_taken() -> None:
    given = {
        "vmodule": "proxier=4,io*=2", "log-flush-frequency": "5s", "log-json-info-buffer-size": "4Ki", "log-text-info-buffer-size": "0",
        "log-json-split-stream": "true", "log-text-split-stream": "0", "machine-id-file": "/etc/machine-id", "boot-id-file": "/x,/y",
        "proxy-port-range": "1-2",
    }
    assert set(given) == {flag.name for flag in UNUSED_FLAGS}
    for flag in UNUSED_FLAGS:
        flag.read(given[flag.name])


@pytest.mark.parametrize("text", ["0", "4096", "4Ki", "1.5M", "1e3", "-1", "+.5k"])
def test_quantities_are_read_as_kubernetes_writes_them(text: str) -> None:
    assert quantity(text) == text


@pytest.mark.parametrize("text", ["", "x", "4Ki4", "1.2.3", ".", "Ki"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        quantity(text)


def test_levels_and_periods_are_read() -> None:
    assert vmodule("a=1, b=2") == ("a=1", "b=2")
    assert flush_period("1m") == 60


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("logging.vmodule", "foo", "logging.vmodule"),
        ("logging.vmodule", [{"filePattern": "", "verbosity": 2}], "logging.vmodule[0].filePattern"),
        ("logging.vmodule", [{"filePattern": "a", "verbosity": -1}], "logging.vmodule[0].verbosity"),
        ("logging.flushFrequency", "soon", "logging.flushFrequency"),
        ("logging.flushFrequency", "-1s", "logging.flushFrequency"),
        ("logging.options", {"json": {"infoBufferSize": "x"}}, "logging.options.json.infoBufferSize"),
        ("logging.options", {"text": {"splitStream": "x"}}, "logging.options.text.splitStream"),
        ("logging.options", 5, "logging.options"),
        ("portRange", 5, "portRange"),
        ("clientConnection.acceptContentTypes", True, "clientConnection.acceptContentTypes"),
        ("windowsRunAsService", "yes", "windowsRunAsService"),
        ("winkernel", {"enableDSR": "maybe"}, "winkernel.enableDSR"),
    ],
)
def test_cfg_21_values_that_kube_proxy_cannot_decode_are_told_with_their_place(path: str, value: object, place: str) -> None:
    assert [where for where, _ in wrong(path, value)] == [place]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("logging.vmodule", [{"filePattern": "a*", "verbosity": 2}]), ("logging.flushFrequency", 0),
        ("logging.flushFrequency", 5_000_000_000),
        ("logging.options", {"json": {"infoBufferSize": "4Ki", "splitStream": True}, "more": 1}), ("winkernel", None), ("portRange", ""),
    ],
)
def test_what_it_decodes_is_taken(path: str, value: object) -> None:
    assert list(wrong(path, value)) == []


def test_every_value_that_means_nothing_here_has_a_shape() -> None:
    assert set(SHAPES) == set(KUBE_PROXY.unused)
    assert [one for path, usual in KUBE_PROXY.unused.items() for one in wrong(path, usual)] == []
