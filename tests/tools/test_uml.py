"""The other kernel: a command behaves there as it does here, is bounded in time, and leaves nothing on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

UML = Path(__file__).parents[2] / "tools" / "uml"


def started(*arguments, **environment):
    """Run the program with a clean idea of where to run."""
    known = {name: value for name, value in os.environ.items() if name != "POINTSMAN_KERNEL"}
    return subprocess.run([sys.executable, UML, *arguments], capture_output=True, text=True, check=False, env={**known, **environment})


@pytest.fixture
def scratch(tmp_path):
    """Give a folder for what the program makes; afterwards it is empty."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kernel
def test_output_error_output_and_status_are_the_commands(scratch):
    text = 'grep -c "IP Virtual Server" /proc/net/ip_vs; pwd; echo "$COLUMNS $POINTSMAN_KERNEL"; echo wrong >&2; [ -t 1 ] || exit 7'
    done = started("bash", "-c", text, TMPDIR=str(scratch), COLUMNS="123")
    assert (done.returncode, done.stderr) == (7, "wrong\n")
    assert done.stdout == f"1\n{Path.cwd()}\n123 host\n"


@pytest.mark.kernel
def test_no_line_is_lost_and_quotes_arrive(scratch):
    done = started("sh", "-c", 'seq 50000; printf "%s" "$1"', "sh", "it's \"so\" $HOME", TMPDIR=str(scratch))
    assert done.stdout == "".join(f"{number}\n" for number in range(1, 50001)) + "it's \"so\" $HOME"


@pytest.mark.kernel
def test_time_is_bounded(scratch):
    began = time.monotonic()
    done = started("--seconds", "6", "sleep", "100", TMPDIR=str(scratch))
    assert (done.returncode, done.stderr) == (124, "uml: out of time after 6 s\n")
    assert time.monotonic() - began < 90


@pytest.mark.kernel
def test_an_interrupted_one_leaves_nothing(scratch):
    process = subprocess.Popen([sys.executable, UML, "sleep", "100"], env={**os.environ, "TMPDIR": str(scratch)})
    while not list(scratch.glob("pointsman-uml-*/started")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize(("wish", "told"), [("host", "host\n"), ("uml", "uml\n")])
def test_the_environment_decides_where(wish, told):
    assert started("--where-needed", "--tell", POINTSMAN_KERNEL=wish).stdout == told


def test_where_this_kernel_has_ipvs_no_other_one_is_started():
    expected = "host\n" if Path("/proc/net/ip_vs").exists() else "uml\n"
    assert started("--where-needed", "--tell").stdout == expected
    done = started("--where-needed", "sh", "-c", "echo $POINTSMAN_KERNEL", POINTSMAN_KERNEL="host")
    assert (done.returncode, done.stdout) == (0, "host\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ((), {}, "no command"),
        (("--where-needed", "true"), {"POINTSMAN_KERNEL": "moon"}, "POINTSMAN_KERNEL=moon is neither host nor uml"),
        (("--memory", "much", "true"), {}, "much is no size such as 512M or 2G"),
        (("--memory", "99999G", "true"), {}, "/dev/shm has no room for 99999G"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(arguments, environment, words):
    done = started(*arguments, **environment)
    assert done.returncode != 0
    assert words in done.stderr
