"""Who holds the xtables lock (IPT-41, pain 37)."""

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables import lock
from pointsman.iptables.lock import Holder

LOCKS = [
    "1: FLOCK  ADVISORY  WRITE 4711 fe:00:9773057 0 EOF",
    "1: -> FLOCK  ADVISORY  WRITE 4712 fe:00:9773057 0 EOF",
    "2: POSIX  ADVISORY  WRITE 4713 00:1a:44 0 EOF",
    "3: FLOCK  ADVISORY  WRITE 0 fe:00:9773058 0 EOF",
]


def test_holders_not_waiters_of_this_file():
    assert lock.holders_of(LOCKS, 0xFE, 0, 9773057) == (4711,)
    assert lock.holders_of(LOCKS, 0, 0x1A, 44) == (4713,)
    assert lock.holders_of(LOCKS, 1, 2, 3) == ()


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_lines_are_borne(lines):
    assert all(pid >= 0 for pid in lock.holders_of(lines, 0, 0, 0))


def test_the_holder_is_named_with_its_command(tmp_path):
    path = tmp_path / "xtables.lock"
    assert lock.holders(path) == ()
    with path.open("w") as held:
        assert lock.holders(path) == ()
        fcntl.flock(held, fcntl.LOCK_EX)
        (holder,) = lock.holders(path)
    assert holder.pid == os.getpid()
    assert "pytest" in str(holder) or "python" in str(holder)
    assert str(holder).startswith(f"process {os.getpid()} (")


def test_the_lock_file_can_be_set(monkeypatch):
    monkeypatch.delenv("XTABLES_LOCKFILE", raising=False)
    assert lock.lock_path() == Path("/run/xtables.lock")
    monkeypatch.setenv("XTABLES_LOCKFILE", "/somewhere/else.lock")
    assert lock.lock_path() == Path("/somewhere/else.lock")


@pytest.mark.parametrize(("holder", "text"), [(Holder(7, ""), "process 7"), (Holder(7, "iptables -S"), "process 7 (iptables -S)")])
def test_a_holder_in_words(holder, text):
    assert str(holder) == text
