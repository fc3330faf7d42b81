import subprocess
import sys
from importlib import metadata

import pytest
from click.testing import CliRunner
from pointsman.proxy.cli import main as entry
from pointsman.proxy.cli.main import COMMANDS, INTERRUPTED, cli, main


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = "import sys; from pointsman.proxy.cli.main import cli; cli.main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=180).stdout
    for name, (module, text) in COMMANDS.items():
        assert f"  {name} " in output
        assert text.split()[0] in output
        assert f"'{module}'" not in output
    for heavy in ("aiohttp", "rich", "uvloop", "pyroute2"):
        assert f"'{heavy}'" not in output


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.output == f"pointsman, version {metadata.version('pointsman')}\n"


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-P", "-m", "pointsman.proxy.cli.main", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout.startswith("pointsman, version")


def test_an_unknown_command_is_status_2() -> None:
    assert CliRunner().invoke(cli, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"pointsman {name}" in result.output
    assert "Exit status" in result.output


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry.cli, "main", interrupted)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == INTERRUPTED
