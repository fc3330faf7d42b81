"""The command's own part: options, refusals and the last line."""

import os

from click.testing import CliRunner
from pointsman.proxy.cli import demo
from pointsman.proxy.demo import session
from pointsman.proxy.demo.removal import Removal


def test_it_says_that_it_needs_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(demo.command)
    assert result.exit_code == 1
    assert "needs root" in result.output


def test_unknown_modes_are_refused():
    result = CliRunner().invoke(demo.command, ["--proxy-mode", "userspace"])
    assert result.exit_code == 2
    assert "userspace" in result.output


def test_the_last_line_says_what_it_came_to():
    fine = session.Report((), Removal("s", "p", {"IPv4": 3.0}, 2, 1, 10, 0), 4.0)
    broken = session.Report((), Removal("s", "p", {"IPv4": 3.0}, 2, 1, 10, 2), 4.0)
    assert demo.verdict(fine, "iptables", "nft") == "PASSED: all as expected; 0 questions, 0 connections, iptables (nft), 4.0 s"
    assert demo.verdict(broken, "iptables", "nft").startswith("FAILED: 0 questions differ from what was expected; the removal")
