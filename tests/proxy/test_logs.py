import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
from pointsman.proxy import logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    logging.getLogger("pointsman").setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)


def lines(form: str, verbosity: int = 0) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logs.configure(form, verbosity, stream)
    return logging.getLogger("pointsman.proxy.loop"), stream


def test_an_event_is_one_line_with_its_facts() -> None:
    log, stream = lines("text")
    log.info("applied %s", "all", extra={"family": "IPv4", "seconds": 0.0123456789, "note": "two words", "empty": ""})
    when, rest = stream.getvalue().split(" ", 1)
    assert when.endswith("Z")
    assert rest == 'INFO proxy.loop: applied all family=IPv4 seconds=0.0123457 note="two words" empty=""\n'


def test_line_breaks_stay_inside_the_line() -> None:
    log, stream = lines("text")
    log.warning("a\nb", extra={"text": "c\nd"})
    assert stream.getvalue().count("\n") == 1
    assert "a\\nb" in stream.getvalue()


def test_pain_68_a_log_line_never_holds_a_ruleset() -> None:
    for form in ("text", "json"):
        log, stream = lines(form)
        log.error("failed", extra={"text": "-A KUBE-SERVICES\n" * 100_000})
        assert len(stream.getvalue()) < logs.LIMIT + 500


def test_json_is_one_object_per_line() -> None:
    log, stream = lines("json")
    log.info("applied", extra={"family": "IPv4", "changes": 3})
    value = json.loads(stream.getvalue())
    assert value.pop("ts").endswith("Z")
    assert value == {"level": "INFO", "logger": "pointsman.proxy.loop", "msg": "applied", "family": "IPv4", "changes": 3}


def test_a_traceback_is_kept_in_both_forms() -> None:
    for form in ("text", "json"):
        log, stream = lines(form)
        try:
            int("boom")
        except ValueError:
            log.exception("unexpected")
        assert "ValueError: invalid literal" in stream.getvalue()
        assert "Traceback" in stream.getvalue()


@pytest.mark.parametrize(("verbosity", "seen"), [(0, (True, False, False)), (4, (True, True, False)), (8, (True, True, True))])
def test_verbosity(verbosity: int, seen: tuple[bool, bool, bool]) -> None:
    log, stream = lines("text", verbosity)
    log.info("event")
    log.debug("step")
    logging.getLogger("aiohttp.access").info("library")
    assert tuple(word in stream.getvalue() for word in ("event", "step", "library")) == seen


def test_warnings_of_python_become_log_lines() -> None:
    _, stream = lines("text")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert "old" in stream.getvalue()


def test_configuring_again_replaces_the_earlier_setting() -> None:
    _, first = lines("text")
    log, second = lines("json")
    log.info("event")
    assert not first.getvalue()
    assert second.getvalue()


def record(number: int) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "pointsman.test", "levelname": "INFO", "msg": f"event {number}", "text": "x" * 1000})


def relay(waiting: int, form: str = "text") -> tuple[logs.Relay, int, int]:
    reading, writing = os.pipe()
    made = logs.Relay(writing, waiting)
    made.setFormatter(logs.json_formatter() if form == "json" else logs.TextFormatter())
    return made, reading, writing


def read_all(handler: logs.Relay, reading: int, writing: int) -> list[str]:
    """Return the lines that were written and still wait, and end the relay."""
    pieces: list[bytes] = []
    reader = threading.Thread(target=lambda: pieces.extend(iter(lambda: os.read(reading, 65536), b"")))
    reader.start()
    handler.flush()
    os.close(writing)
    reader.join()
    os.close(reading)
    return b"".join(pieces).decode().splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobody_waits_for_a_reader_that_is_stuck_and_what_is_lost_is_told(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FAREWELL", 30.0)
    handler, reading, writing = relay(50, form)
    for number in range(400):  # a pipe holds 64 KiB, so about 60 lines
        handler.handle(record(number))
    written = read_all(handler, reading, writing)
    numbers = [int(found[1]) for line in written if (found := re.search(r"event (\d+)", line))]
    told = [line for line in written if "log lines were lost, because nobody read them" in line]
    lost = sum(int(found[1]) for line in told if (found := re.search(r"lines\D{1,4}(\d+)", line)))
    assert numbers == sorted(numbers)
    assert lost == 400 - len(numbers) > 0


def test_a_reader_that_is_gone_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    handler, reading, writing = relay(10)
    os.close(reading)
    handler.handle(record(1))
    handler.flush()
    os.close(writing)
    assert capfd.readouterr() == ("", "")


def test_the_end_of_the_program_waits_for_a_reader_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FAREWELL", 0.05)
    handler, reading, writing = relay(200)
    for number in range(150):
        handler.handle(record(number))
    handler.flush()  # nobody reads, and yet it returns
    monkeypatch.setattr(logs, "FAREWELL", 30.0)
    assert len(read_all(handler, reading, writing)) == 150


def test_standard_error_is_written_by_a_relay() -> None:
    logs.configure("text", 0)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logs.Relay)


AT_THE_END = """
import logging
from pointsman.proxy import logs

class Late:
    def __init__(self):
        self.log, self.itself = logging.getLogger("pointsman"), self

    def __del__(self):
        self.log.warning("said at the very end")

logs.configure("text", 0)
late = Late()
"""


def test_what_is_said_when_python_ends_neither_hangs_nor_is_lost():
    """A thread that is started then would be waited for for ever: whoever should start the program again would wait, too."""
    ran = subprocess.run((sys.executable, "-P", "-c", AT_THE_END), capture_output=True, text=True, check=True, timeout=60)
    assert "said at the very end" in ran.stderr
