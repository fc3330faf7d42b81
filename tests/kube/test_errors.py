"""Errors of the API say by their status what may be done about them."""

import pytest
from pointsman.kube.errors import ApiError


def test_an_error_reads_as_people_say_it():
    assert str(ApiError(403, "services is forbidden")) == "403: services is forbidden"
    assert str(ApiError(0, "does not answer")) == "does not answer"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (410, "gone"), (404, "absent"), (403, "denied"), (401, "unauthorized"), (400, "refused"), (422, "refused"),
        (429, ""), (500, ""), (0, ""),
    ],
)
def test_a_status_has_one_meaning(status, meaning):
    error = ApiError(status, "x")
    found = [name for name in ("gone", "absent", "denied", "unauthorized", "refused") if getattr(error, name)]
    assert found == ([meaning] if meaning else [])
