import msgspec
from pointsman.dataplane.traffic import Passed


def test_a_number_that_a_mode_does_not_have_is_none_and_not_zero():
    found = msgspec.to_builtins(Passed("TCP", "10.96.0.1", 80, "10.0.0.1", 8080, 7))
    assert found["connections"] == 7
    assert [found[name] for name in ("packets_in", "bytes_in", "packets_out", "bytes_out")] == [None] * 4
