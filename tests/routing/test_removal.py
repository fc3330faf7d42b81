"""What a Service says about connections to endpoints that left (pain 85)."""

import pytest
from pointsman.kube.objects import Annotations, ObjectMeta, Service, ServiceSpec
from pointsman.routing.notices import Notes
from pointsman.routing.removal import reset_after


def asked(text: str | None) -> tuple[float | None, str]:
    meta = ObjectMeta("web", "shop", annotations=Annotations(on_endpoint_removal=text))
    notes = Notes("Service shop/web")
    found = reset_after(Service(meta, ServiceSpec()), notes)
    return found, "; ".join(map(str, notes.notices()))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("", None), ("keep", None), (" keep ", None), ("reset-after=1h", 3600.0),
        ("reset-after=30s", 30.0), ("reset-after=0s", 0.0), ("reset-after=45", 45.0), ("reset-after = 2m", 120.0),
    ],
)  # fmt: skip
def test_a_choice_is_read(text: str | None, seconds: float | None) -> None:
    assert asked(text) == (seconds, "")


@pytest.mark.parametrize("text", ["cut", "reset-after", "reset-after=", "reset-after=-1s", "reset-after=30d", "reset-after=1.5s"])
def test_what_cannot_be_read_keeps_and_is_told(text: str) -> None:
    found, told = asked(text)
    assert found is None
    assert "on-endpoint-removal" in told
    assert text in told
    assert "reset-after=30s" in told


def test_nobody_waits_for_more_than_a_day() -> None:
    assert asked("reset-after=24h")[0] == 86400.0
    found, told = asked("reset-after=25h")
    assert found is None
    assert "24 hours" in told
