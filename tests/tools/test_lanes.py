"""Programs side by side: what they say is shown in order, all of them end with us, and sessions share their tests."""

import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
TESTS = Path(__file__).parents[1]
MEETING = """
import pathlib, sys, time
mine, others, word = sys.argv[1:]
pathlib.Path(mine).touch()
end = time.monotonic() + 60
while not pathlib.Path(others).exists():
    assert time.monotonic() < end
    time.sleep(0.01)
print(word)
"""
TIDY = """
import pathlib, signal, sys, time
try:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(600)
finally:
    pathlib.Path(sys.argv[1]).unlink()
"""
STARTER = """
import sys
sys.path.insert(0, sys.argv[1])
import lanes
lanes.end_in_order()
lanes.run(*([lanes.Program(path, [sys.executable, sys.argv[2], path])] for path in sys.argv[3:]))
"""
TOGETHER = """
import pathlib
import pytest

def alone(name):
    with pathlib.Path("ran").open("a") as file:
        file.write(f"{name}\\n")

@pytest.mark.parametrize("number", range(40))
def test_one(number):
    alone(number)

def test_red():
    alone("red")
    assert not "red"
"""


def load():
    loader = importlib.machinery.SourceFileLoader("lanes", str(TOOLS / "lanes.py"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules.setdefault("lanes", module)
    loader.exec_module(module)
    return module


lanes = load()


def python(title, text, *arguments):
    return lanes.Program(title, [sys.executable, "-c", text, *map(str, arguments)])


def test_lanes_go_on_at_the_same_time_and_are_shown_one_after_the_other(tmp_path, capfdbinary):
    here, there = tmp_path / "here", tmp_path / "there"
    ended = lanes.run([python("first", MEETING, here, there, "one")], [python("second", MEETING, there, here, "two")])
    assert ended == [lanes.Ended(0, "one\n"), lanes.Ended(0, "two\n")]
    assert capfdbinary.readouterr().out == b"--- first\none\n--- second\ntwo\n"


def test_in_a_lane_one_begins_when_the_one_before_has_ended(tmp_path, capfdbinary):
    made = tmp_path / "made"
    look = f"import pathlib; print(pathlib.Path({str(made)!r}).exists())"
    late = f"import pathlib, time; time.sleep(0.5); pathlib.Path({str(made)!r}).touch(); raise SystemExit(3)"
    ended = lanes.run([python("late", late), python("next", look)])
    assert ended == [lanes.Ended(3, ""), lanes.Ended(0, "True\n")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_end_with_us_and_take_down_what_they_built(tmp_path, number):
    (tmp_path / "tidy.py").write_text(TIDY)
    built = [tmp_path / "one", tmp_path / "two"]
    command = [sys.executable, "-c", STARTER, TOOLS, tmp_path / "tidy.py", *built]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not all(path.exists() for path in built):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) != 0
    assert not any(path.exists() for path in built)


def test_sessions_run_each_test_once_and_what_is_red_is_told_again(tmp_path, capfdbinary, monkeypatch):
    (tmp_path / "test_together.py").write_text(TOGETHER)
    (tmp_path / "claims").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    rooted = ["-c", "/dev/null", "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", *rooted, str(tmp_path)]
    monkeypatch.setattr(lanes, "FOLDER", tmp_path)
    ended = lanes.run(*lanes.sharing("shared", 2, command, tmp_path / "claims"))
    assert sorted((tmp_path / "ran").read_text().split()) == sorted([*map(str, range(40)), "red"])
    assert sorted(one.status for one in ended) == [0, 1]
    red, told = lanes.summary("here", ended, "sessions", 7.4).splitlines()
    assert red.startswith("FAILED test_together.py::test_red")
    assert told == "here: FAILED: 40 passed, 1 failed; 2 sessions, 7 s"


def test_a_session_finds_no_claims_of_another_one():
    assert "POINTSMAN_CLAIMS" not in os.environ


def test_the_sum_is_over_all_and_one_broken_session_breaks_it():
    table = "2396 cases in 2 worlds, 0 differ from the oracle\n"
    ended = [lanes.Ended(0, f"{table}==== 3 passed in 1.0s ====\n"), lanes.Ended(0, f"{table}==== 4 passed, 1 deselected in 2.0s ====")]
    assert lanes.summary("here", ended, "sessions", 2) == "here: PASSED: 7 passed; contract table: 4792 cases, 0 differ; 2 sessions, 2 s"
    assert lanes.summary("here", [*ended, lanes.Ended(124, "killed")], "sessions", 2).startswith("here: FAILED: 7 passed; ")
    assert lanes.summary("here", [lanes.Ended(0, "")], "sessions", 2) == "here: FAILED: no test; 1 sessions, 2 s"
