"""`pointsman dns`: the resolver alone, what is wrong with a Corefile, and questions to the running one.

Each subcommand is a module of its own, imported when it is asked for, as at the top (`main`).
"""

from collections.abc import Mapping
from importlib import import_module

import click

SUBCOMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("pointsman.proxy.cli.dns_serve", "Serve DNS as a Corefile says, without the rest of the agent."),
    "check": ("pointsman.proxy.cli.dns_check", "Say everything that is wrong with a Corefile, at once."),
    "query": ("pointsman.proxy.cli.dns_query", "Ask the running resolver for a name, and why it answers so."),
    "top": ("pointsman.proxy.cli.dns_top", "Say which names are asked most, and who asks most for what is not there."),
}

EPILOG = """\b
Try it on a high port, without root and without a cluster:
  pointsman dns serve --corefile Corefile --manifests examples/shop --listen 127.0.0.1:5353
  dig -p 5353 @127.0.0.1 web.shop.svc.cluster.local

\b
On a node, beside the rules: `pointsman run --dns` (docs/dns.md).

\b
Exit status:
  0  done
  1  it could not be done, or the answer is no
  2  the command line or the Corefile is wrong
Each command's --help says what that means there; `query` and `top` end with 3 where no resolver answers.
"""


class _Group(click.Group):
    """A group whose subcommands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        if cmd_name not in SUBCOMMANDS:
            return None
        found = import_module(SUBCOMMANDS[cmd_name][0]).command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's interface
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])


@click.group("dns", cls=_Group, epilog=EPILOG)
def command() -> None:
    """DNS of this node: CoreDNS-compatible, from the same watch as the rules."""
