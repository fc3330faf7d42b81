"""Namespaces: made, entered by one thread only, removed; the host stays as it was."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from pointsman.proxy.demo.lab_namespace import NAMED, LabError, Namespaces

pytestmark = pytest.mark.kernel
NETNS_COOKIE = 71  # SO_NETNS_COOKIE: which namespace a socket belongs to
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@pytest.fixture
def spaces():
    made = Namespaces(f"namespace-test-{os.getpid()}")
    made.create(["a", "b"])
    yield made
    assert made.remove() == ()


def own():
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_work_is_done_inside_and_the_caller_stays_where_it_is(spaces):
    before = own()
    inside = {name: spaces.inside(name, own) for name in ("a", "b")}
    assert len({before, *inside.values()}) == 3
    assert own() == before


def test_ctrl_c_reaches_none_of_the_tools(spaces, monkeypatch, tmp_path):
    """A terminal sends it to all processes of our group; a tool that died of it would look like a failure, or leave something behind."""
    real, seen = shutil.which("ip"), tmp_path / "groups"
    (tmp_path / "ip").write_text(f'#!/bin/sh\nps -o pgid= -p $$ >> {seen}\nexec {real} "$@"\n')
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    spaces.create(["c"])
    spaces.batch("c", "link set lo up")
    assert spaces.remove() == ()
    groups = seen.read_text().split()
    assert len(groups) == 3
    assert str(os.getpgrp()) not in groups


def test_the_thread_comes_back_after_an_error(spaces):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spaces.inside("a", fail)
    assert spaces.inside("b", own) != spaces.inside("a", own)


def test_sockets_belong_to_their_namespace(spaces):
    cookies = {}
    for name in ("a", "b"):
        opened = spaces.sockets(name, socket.AF_INET, socket.SOCK_DGRAM, count=2)
        for one in opened:
            assert not one.getblocking()
            cookies.setdefault(name, set()).add(one.getsockopt(socket.SOL_SOCKET, NETNS_COOKIE, 8))
            one.close()
    assert [len(found) for found in cookies.values()] == [1, 1]
    assert cookies["a"] != cookies["b"]


def test_sockets_that_are_taken_one_by_one_are_opened_in_turns_and_closed_in_the_end(spaces, monkeypatch):
    turns, inside = [], spaces.inside
    monkeypatch.setattr(spaces, "inside", lambda name, work: turns.append(name) or inside(name, work))
    taken = [spaces.take(name, socket.AF_INET, socket.SOCK_STREAM) for name in ("a", "b") for _ in range(10)]
    assert turns == ["a", "b"]
    cookies = {one.getsockopt(socket.SOL_SOCKET, NETNS_COOKIE, 8) for one in taken}
    assert len(cookies) == 2
    assert not any(one.getblocking() for one in taken)
    spare = [one for some in spaces._spare.values() for one in some]
    spaces.remove()
    assert all(one.fileno() == -1 for one in spare)
    for one in taken:
        one.close()


def test_sysctls_are_written_inside_only_and_absent_ones_are_borne(spaces):
    host = FORWARDING.read_text()
    spaces.sysctl("a", {"net/ipv4/ip_forward": "1", "net/no/such/setting": "1"})
    assert spaces.inside("a", FORWARDING.read_text) == "1\n"
    assert spaces.inside("b", FORWARDING.read_text) == "0\n"
    assert FORWARDING.read_text() == host


def test_rules_of_the_sixth_version_go_to_the_right_command(spaces):
    spaces.batch("a", "link set lo up\n-6 rule add from fd00::/64 lookup 101\n")
    shown = subprocess.run(spaces.command("a", "ip", "-6", "rule"), capture_output=True, text=True, check=True).stdout
    assert "from fd00::/64 lookup 101" in shown


def test_a_command_that_fails_is_told(spaces):
    with pytest.raises(LabError, match=r"ip -n namespace-test-\d+-a -batch -: .*nosuch"):
        spaces.batch("a", "link set nosuch up\n")


def test_a_command_runs_inside_and_sees_the_same_files(spaces):
    command = spaces.command("a", "readlink", "/proc/self/ns/net", "/proc/self/ns/mnt")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    net, mounts = done.stdout.split()
    assert net == spaces.inside("a", own)
    assert mounts == str(Path("/proc/self/ns/mnt").readlink())


def test_a_name_that_is_taken_is_an_error_and_what_was_made_is_removed():
    first, second = (Namespaces(f"namespace-twice-{os.getpid()}") for _ in range(2))
    first.create(["x"])
    with pytest.raises(LabError, match="File exists"):
        second.create(["w", "x"])
    assert second.remove() == ()
    assert first.remove() == ()


def test_removal_may_be_done_twice_and_tells_what_is_left(monkeypatch):
    spaces = Namespaces(f"namespace-left-{os.getpid()}")
    spaces.create(["x"])
    name = spaces.full_name("x")
    with monkeypatch.context() as lost:
        lost.setenv("PATH", "")
        [left] = spaces.remove()
    assert name in left
    assert f"ip netns del {name}" in left
    assert spaces.remove() == ()
    subprocess.run(["ip", "netns", "del", name], check=True)
    assert not (NAMED / name).exists()


def test_without_ip_the_package_is_named(monkeypatch):
    spaces = Namespaces(f"namespace-none-{os.getpid()}")
    with monkeypatch.context() as lost:
        lost.setenv("PATH", "")
        with pytest.raises(LabError, match="iproute2"):
            spaces.create(["x"])
    assert spaces.remove() == ()
