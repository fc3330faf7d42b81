import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.proxy.values import boolean, decimal, duration, gates, integer, node_name, spelled, spelled_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("100ms", 0.1), ("0", 0), ("1h", 3600), ("1.5s", 1.5), (".5m", 30), ("2us", 2e-6), ("2µs", 2e-6)],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "1 s", "1d", "1m 3s", "1s1", "--1s", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), millis=st.integers(0, 59999))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, millis: int) -> None:
    assert duration(f"{hours}h{minutes}m{millis}ms") == pytest.approx(hours * 3600 + minutes * 60 + millis / 1000)


def test_booleans_are_read_as_go_does() -> None:
    assert [boolean(text) for text in ("true", "1", "T", "True")] == [True] * 4
    assert [boolean(text) for text in ("false", "0", "F", "FALSE")] == [False] * 4
    with pytest.raises(ValueError, match="neither"):
        boolean("yes")


def test_integers_are_read_as_go_does() -> None:
    texts = ("-7", "+3", "0", "0x1f", "0b101", "017", "0o17", "2147483647")
    assert [integer(text) for text in texts] == [-7, 3, 0, 31, 5, 15, 15, 2**31 - 1]
    for text in ("", "1.0", "1_0", "9" * 11, "0x", "08", "abc", " 1"):
        with pytest.raises(ValueError, match="whole number"):
            integer(text)


def test_a_node_has_a_name_in_lower_case() -> None:
    assert node_name(" Node-1 ") == "node-1"


def test_numbers_are_decimal_too() -> None:
    assert [decimal(text) for text in ("5", "0.5", ".5", "-1.", "+2")] == [5, 0.5, 0.5, -1, 2]
    for text in ("", "nan", "1e3", "inf", "1,5"):
        with pytest.raises(ValueError, match="no number"):
            decimal(text)


def test_gates_are_names_with_booleans() -> None:
    assert gates("A=true, B=0,") == (("A", True), ("B", False))
    with pytest.raises(ValueError, match="Name=true"):
        gates("A")
    with pytest.raises(ValueError, match="neither true nor false"):
        gates("A=maybe")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (30, "30s"), (60, "1m0s"), (90, "1m30s"), (900, "15m0s"), (86400, "24h0m0s"), (3600, "1h0m0s"), (1.5, "1.5s"),
        (0.1, "100ms"), (0.0015, "1.5ms"), (2e-6, "2µs"), (5e-9, "5ns"), (-90.5, "-1m30.5s"),
    ],
)
def test_durations_are_spelled_as_go_does(seconds: float, text: str) -> None:
    assert spelled_duration(seconds) == text


@given(st.integers(-10**15, 10**15))
def test_a_duration_that_is_spelled_and_read_is_the_same(nanos: int) -> None:
    assert round(duration(spelled_duration(nanos / 1e9)) * 1e9) == pytest.approx(nanos, abs=1)


def test_values_are_spelled_as_they_are_given() -> None:
    assert [spelled(value) for value in (True, 14, 2.5, 5.0, "x", ("a", "b"), (("A", True), ("B", False)))] == [
        "true", "14", "2.5", "5", "x", "a,b", "A=true,B=false",
    ]
    assert spelled(30.0, time=True) == "30s"
