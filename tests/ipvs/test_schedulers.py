"""Schedulers and the names of their flags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.ipvs import schedulers
from pointsman.ipvs.objects import ServerFlag
from pointsman.ipvs.schedulers import FALLBACK, PORT, Scheduler
from pointsman.routing import weights

NAMES = [*map(str, Scheduler), "unheard-of"]


def test_ipvs_04_the_admitted_schedulers_exist():
    assert set(Scheduler) >= schedulers.UPSTREAM


def test_ipvs_04_mh_hashes_the_port_too():
    assert schedulers.default_flags("mh") == ServerFlag(0x10)
    assert all(schedulers.default_flags(name) == ServerFlag.NONE for name in NAMES if name != "mh")


def test_flags_are_named_as_ipvsadm_names_them():
    assert schedulers.flag_names("mh", FALLBACK | PORT) == ("mh-fallback", "mh-port")
    assert schedulers.flag_names("sh", PORT | ServerFlag.PERSISTENT) == ("sh-port",)
    assert schedulers.flag_names("rr", FALLBACK) == ("flag-1",)


@given(st.sampled_from(NAMES), st.integers(0, 7).map(lambda bits: ServerFlag(bits << 3)))
def test_flags_come_back(name, flags):
    assert schedulers.parse_flags(name, schedulers.flag_names(name, flags)) == flags


def test_an_unknown_flag_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"scheduler sh knows no flag 'mh-port'; it knows sh-fallback, sh-port"):
        schedulers.parse_flags("sh", ("mh-port",))


def test_services_may_choose_every_scheduler_and_every_flag_that_has_a_name():
    assert set(weights.SCHEDULERS) == set(Scheduler)
    assert {name: tuple(schedulers.vocabulary(name)) for name in NAMES if schedulers.vocabulary(name)} == weights.FLAGS
