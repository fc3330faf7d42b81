"""`pointsman dns query`: what the running resolver answers for a name, and in words why.

The resolver decides and explains; this command asks over the Unix socket beside the agent's, and draws. For a Pod the search path is walked
as its C library does, so that the steps that cost queries are seen.
"""

import socket
import sys

import click
import msgspec
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.config import Config

EPILOG = """\b
Examples:
  pointsman dns query web.shop.svc.cluster.local          one name, as it is
  pointsman dns query web --from shop/cart-7d4f9          as a Pod asks: along its search path
  pointsman dns query _http._tcp.web.shop.svc.cluster.local SRV -o json

\b
Exit status:
  0  the name has records of this type
  1  it has none: NXDOMAIN, no data, or an error of an upstream
  2  the command line is wrong
  3  no resolver answers on the socket
"""

TIMEOUT = 15.0


@click.command("query", epilog=EPILOG)
@click.argument("name")
@click.argument("qtype", metavar="[TYPE]", default="A")
@click.option("--from", "pod", default="", metavar="POD", help="Who would ask: NAMESPACE/NAME of a Pod, or an address.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output.")
@click.option("--socket", "path", default="", metavar="PATH", help="The resolver's socket.  [default: beside the agent's]")
def command(name: str, qtype: str, pod: str, output: str, path: str) -> int:
    """Ask the running resolver for a name, and why it answers so."""
    from pointsman.dns.explain import WRITE, type_number  # noqa: PLC0415 - as above
    from pointsman.dns.names import NotANameError, wire  # noqa: PLC0415 - as above
    from pointsman.proxy.dns.questions import Explanation, Question, default_path  # noqa: PLC0415 - --help need not wait for it

    if not type_number(qtype):
        raise click.BadParameter(f"{qtype.upper()} is no type of records: {WRITE}", param_hint="TYPE")
    try:
        wire(name)
    except NotANameError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    body = ask(path or default_path(Config().socket), msgspec.json.encode(Question("explain", name, qtype.upper(), pod)))
    found = msgspec.json.decode(body, type=Explanation)
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.format(body.strip(), indent=2) + b"\n")
    else:
        for step in found.steps:
            click.echo(step.name)
            width = max((len(row[0]) for row in step.rows if row), default=0)
            for row in step.rows:
                click.echo(f"  {row[0]:<{width}}  {'  '.join(row[1:])}")
        if found.note:
            click.echo(found.note)
    if found.error:
        raise click.ClickException(found.error)
    return 0 if found.steps and any(row and row[0] == "answer" for row in found.steps[-1].rows) else 1


def ask(path: str, question: bytes) -> bytes:
    """Return what answers at the socket; raises UnreachableError with what to do."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(TIMEOUT)
        try:
            line.connect(path)
            line.sendall(question + b"\n")
            parts = []
            while part := line.recv(65536):
                parts.append(part)
        except PermissionError:
            raise UnreachableError(f"{path}: not permitted; ask as the user that runs the resolver, usually root") from None
        except FileNotFoundError:
            text = f"{path}: no resolver answers here; start one with `pointsman run --dns` or `pointsman dns serve --socket {path}`"
            raise UnreachableError(text) from None
        except OSError as error:
            raise UnreachableError(f"{path}: the resolver does not answer ({error}); look at its log") from error
    if not parts:
        raise UnreachableError(f"{path}: the resolver hung up; look at its log")
    return b"".join(parts)


