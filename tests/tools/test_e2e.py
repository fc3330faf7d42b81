"""tools/e2e adds up what its runs say."""

import importlib.machinery
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = """
============================= a real control plane =============================
1040 cases by real packets in 41 states of the API agreed with the oracle; 66 established and 2562 new connections across faults, none lost
1 failed, 14 passed, 13 deselected, 2 errors in 170.23s (0:02:50)
"""
UML = """
200 cases by real packets in 9 states of the API agreed with the oracle; 0 established and 0 new connections across faults, none lost
13 passed, 13 deselected in 229.47s (0:03:49)
"""
CLUSTER = """
================================ a real cluster ================================
the web rolled: 0 streams and 0 UDP flows held, 2834 new connections, the slowest 0.20 s, none failed
two nodes Ready after 12 s; 360 established and 7495 new connections across roll-outs and exchanges, none lost
17 passed in 300.20s (0:05:00)
"""


def tool():
    loader = importlib.machinery.SourceFileLoader("tool_e2e", str(ROOT / "tools/e2e"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_the_last_line_is_the_sum():
    assert tool().summary([HERE, UML], 400.2) == (
        "e2e: 27 passed, 3 failed in 400 s: 1240 cases by real packets in 50 states of a real API, "
        "66 established and 2562 new connections across faults"
    )


def test_the_cluster_has_a_line_of_its_own():
    assert tool().summary([UML, CLUSTER], 400.2) == (
        "e2e: 30 passed, 0 failed in 400 s: 200 cases by real packets in 9 states of a real API, "
        "0 established and 0 new connections across faults\n"
        "e2e, on a real cluster: two nodes Ready after 12 s; 360 established and 7495 new connections "
        "across roll-outs and exchanges, none lost"
    )


def test_it_reads_what_the_tests_of_the_cluster_say():
    """The words that are looked for are those that tests/cluster/cluster_told.py prints."""
    text = (ROOT / "tests/cluster/cluster_told.py").read_text()
    printed = re.sub(r"\{[^}]*\}", "7", "".join(re.findall(r'f?"(two nodes.*|across.*)"\)?$', text, re.MULTILINE)))
    assert tool().HELD.findall(printed) == [printed]


def test_it_reads_what_the_tests_say():
    """The words that are counted are those that tests/e2e/conftest.py prints."""
    text = (ROOT / "tests/e2e/conftest.py").read_text()
    printed = re.sub(r"\{[^}]*\}", "7", "".join(re.findall(r'f"(\{total.*?)"$', text, re.MULTILINE)))
    assert tool().SHOWN.findall(printed) == [("7", "7", "7", "7")]


@pytest.mark.parametrize(("statuses", "status"), [((0, 0, 0), 0), ((0, 1, 0), 1), ((0, -9, 0), 1), ((0, 0, 5), 1)])
def test_one_run_that_did_not_end_well_is_enough(monkeypatch, capsys, statuses, status):
    """One that was killed by a signal has a status below 0, and took along the tests that it had begun."""
    made = tool()
    ended = [made.lanes.Ended(one, "3 passed in 1.00s\n") for one in statuses]
    monkeypatch.setattr(made.lanes, "run", lambda *_: ended)
    monkeypatch.setattr(made.lanes, "end_in_order", lambda: None)
    assert made.main(["tests/e2e"]) == status
    assert "e2e: 9 passed" in capsys.readouterr().out
