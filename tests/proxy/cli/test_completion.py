import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from pointsman.proxy.cli.completion import ASKED_BY, command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(command, [shell])
    assert result.exit_code == 0
    assert ASKED_BY in result.output
    assert "pointsman" in result.output


def completed(*words: str) -> list[str]:
    """Return what the program answers to a shell that asks it to complete the last word."""
    environment = {
        **os.environ, ASKED_BY: "bash_complete", "COMP_WORDS": " ".join(["pointsman", *words]), "COMP_CWORD": str(len(words)),
    }
    code = "import sys; sys.argv = ['pointsman']; from pointsman.proxy.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_are_completed() -> None:
    assert completed("com") == ["completion"]
    assert "run" in completed("")


def test_flags_and_their_words_are_completed() -> None:
    assert completed("run", "--proxy-m") == ["--proxy-mode"]
    assert completed("run", "--proxy-mode", "ip") == ["iptables", "ipvs"]
    assert completed("run", "--masquerade-all", "") == ["true", "false"]
