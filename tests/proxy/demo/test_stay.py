"""The terminal gets its status while the work goes on, and gets the work's status when it does not."""

import os
import time

import pytest
from pointsman.proxy.demo import stay


def test_work_that_ends_gives_its_status():
    assert stay.run(lambda leave: 3) == 3


def test_work_that_fails_gives_a_failure(capfd):
    assert stay.run(lambda leave: 1 // 0) == 1


@pytest.mark.parametrize("status", [0, 1])
def test_work_that_stays_lets_the_terminal_go(tmp_path, status):
    file = tmp_path / "pid"

    def work(leave):
        file.write_text(str(os.getpid()))
        leave(status)
        while file.exists():
            time.sleep(0.01)
        return 0

    assert stay.run(work) == status
    child = int(file.read_text())
    assert os.getsid(child) == child, "it has a session of its own, so Ctrl-C in the terminal does not reach it"
    file.unlink()
    os.waitpid(child, 0)
