"""`pointsman dns top`: which names are asked most, and which clients ask most for names that do not exist.

The counting is the resolver's, since it began; names lose half of their count now and then, so that what was frequent long ago goes.
Clients are known by sample. With several workers, one of them tells for itself.
"""

import sys

import click
import msgspec
from pointsman.proxy.cli.dns_query import ask
from pointsman.proxy.config import Config

EPILOG = """\b
Examples:
  pointsman dns top
  pointsman dns top -o json

\b
A client that leads the second list walks a search path for every external name it asks: write those names with a final dot, or
set ndots in the Pod's dnsConfig.

\b
Exit status:
  0  told
  2  the command line is wrong
  3  no resolver answers on the socket
"""

TITLES = (("top", "name", "queries"), ("storms", "client", "names that do not exist"))


@click.command("top", epilog=EPILOG)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output.")
@click.option("--socket", "path", default="", metavar="PATH", help="The resolver's socket.  [default: beside the agent's]")
def command(output: str, path: str) -> int:
    """Say which names are asked most, and who asks most for names that do not exist."""
    from pointsman.proxy.dns.questions import Explanation, Question, default_path  # noqa: PLC0415 - --help need not wait for it

    where = path or default_path(Config().socket)
    found: dict[str, list[tuple[str, int]]] = {}
    for what, *_ in TITLES:
        told = msgspec.json.decode(ask(where, msgspec.json.encode(Question(what))), type=Explanation)
        if told.error:
            raise click.ClickException(told.error)
        found[what] = [(row[0], int(row[1])) for step in told.steps for row in step.rows if len(row) == 2]
    if output == "json":
        lists = {what: [{title: name, "count": count} for name, count in found[what]] for what, title, _ in TITLES}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(lists), indent=2) + b"\n")
        return 0
    for what, title, count in TITLES:
        width = max((len(name) for name, _ in found[what]), default=0)
        click.echo(f"{title:<{max(width, len(title))}}  {count}")
        for name, times in found[what] or [("none yet", 0)]:
            click.echo(f"{name:<{width}}  {times:,}" if times else name)
        click.echo()
    return 0
