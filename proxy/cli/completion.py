"""`pointsman completion`: the script that lets a shell complete commands, flags, and the words that flags take.

Click generates it; the shell then asks the program itself at each Tab. Nothing is installed: whoever wants it says where it goes.
"""

import click
from click.shell_completion import get_completion_class
from pointsman.proxy.cli.main import cli

EPILOG = """\b
Examples:
  source <(pointsman completion bash)                                    in this shell
  pointsman completion bash > /etc/bash_completion.d/pointsman           in every shell
  pointsman completion zsh > "${fpath[1]}/_pointsman"
  pointsman completion fish > ~/.config/fish/completions/pointsman.fish

\b
Exit status:
  0  printed
  2  the command line is wrong
"""

ASKED_BY = "_POINTSMAN_COMPLETE"
"""The variable by which the script asks the program; click derives it from the program's name."""


@click.command("completion", epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for SHELL."""
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(cli, {}, "pointsman", ASKED_BY).source())
    return 0
