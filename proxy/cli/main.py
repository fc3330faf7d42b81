"""`pointsman`: the command that all others hang on.

A subcommand is a line in `COMMANDS`: its module is imported only when it is the one that was asked for, so `plan` does not load an HTTP
server and `run` does not load table drawing. Exit statuses are the same everywhere: 0 done, 1 it could not be done (the reason is on
standard error, with what to do next), 2 the command line or configuration is wrong; a subcommand's own are in its help.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("pointsman.proxy.cli.run", "Route this node's Service traffic until stopped."),
    "services": ("pointsman.proxy.cli.services", "Show what a running agent routes, and why."),
    "dns": ("pointsman.proxy.cli.dns", "Serve DNS, check Corefiles, ask why a name is answered as it is."),
    "ipvs": ("pointsman.proxy.cli.ipvs", "Look at the kernel's IPVS, with Service and pod names beside addresses."),
    "conntrack": ("pointsman.proxy.cli.conntrack", "Look at tracked connections with names, and at what is wrong with them."),
    "explain": ("pointsman.proxy.cli.explain", "Explain why a connection goes where it goes, or nowhere."),
    "status": ("pointsman.proxy.cli.status", "Show how far the agent is, what fails since when, and why."),
    "diff": ("pointsman.proxy.cli.diff", "Show what the kernel holds otherwise than wanted, in words."),
    "doctor": ("pointsman.proxy.cli.doctor", "Examine this machine: what keeps Services from working, and what will."),
    "top": ("pointsman.proxy.cli.top", "Show connections and traffic per Service port and endpoint, live."),
    "plan": ("pointsman.proxy.cli.plan", "Print what would be programmed; changes nothing."),
    "config": ("pointsman.proxy.cli.config", "Say what a configuration file means, and what is wrong with it."),
    "cleanup": ("pointsman.proxy.cli.cleanup", "Remove everything that pointsman put into the kernel."),
    "demo": ("pointsman.proxy.cli.demo", "Build a small cluster of network namespaces and watch it being routed."),
    "completion": ("pointsman.proxy.cli.completion", "Print the script that lets a shell complete these commands."),
}
"""Name of each subcommand: the module that has it as `command`, and its line in the list of commands."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells expect it."""


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the subcommands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """Return a subcommand, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's interface
        """Write the list of subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's interface
        """Return the subcommands that a word may become, without importing any."""
        return [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]


EPILOG = """\b
Try it without touching anything:
  pointsman plan --proxy-mode iptables --manifests DIR

\b
Route for node n1 (as root), and look at it:
  pointsman run --config /var/lib/kube-proxy/config.conf --hostname-override n1
  pointsman services

\b
In place of kube-proxy in its DaemonSet: the same arguments, by the program `kube-proxy` of this image.
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"max_content_width": 120})
@click.version_option(package_name="pointsman", prog_name="pointsman")
def cli() -> None:
    """Route Kubernetes Services on this node: every connection to a Service reaches a healthy endpoint."""


def main() -> None:
    """Run the command line; the entry point of the `pointsman` program."""
    finish(cli, "pointsman")


def finish(command: click.Command, name: str) -> NoReturn:
    """Run a command line under the name of a program, and end the process with its status; errors are told in one line."""
    try:
        status = command.main(prog_name=name, standalone_mode=False, help_option_names=["-h", "--help"])
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except click.exceptions.Exit as end:
        status = end.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        status = 0
    sys.exit(status)


if __name__ == "__main__":
    main()
