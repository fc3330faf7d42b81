"""`pointsman services`: what a running agent routes, and why, as a table for people or JSON for programs.

Everything shown was decided by the agent; this command asks over the status socket and draws. It stays light: the standard library asks,
and rich is loaded only to draw.
"""

import http.client
import socket
import sys
from urllib.parse import quote

import click
import msgspec
from pointsman.proxy.config import Config
from pointsman.proxy.report import ServicesReport

UNREACHABLE = 3
"""Exit status when no agent answers."""

TIMEOUT = 30.0

EPILOG = """\b
Examples:
  pointsman services                      every Service port that is routed here
  pointsman services shop/web -o wide     one Service, each backend, and why others are left out
  pointsman services -o json | jq '.servicePorts[] | select(.externalMissing)'

\b
Exit status:
  0  answered
  1  the Service that was asked for is not routed here (what is known about it is printed)
  2  the command line is wrong
  3  no agent answers on the socket
"""


class UnreachableError(click.ClickException):
    """No agent answers."""

    exit_code = UNREACHABLE


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


@click.command("services", epilog=EPILOG)
@click.argument("service", metavar="[NAMESPACE/NAME]", default="")
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table", help="wide lists backends one by one.")
@click.option("--socket", "path", default=Config().socket, show_default=True, metavar="PATH", help="The agent's socket.")
def command(service: str, output: str, path: str) -> int:
    """Show what a running agent routes on this node, and why."""
    namespace, _, name = service.partition("/")
    if service and not (namespace and name):
        raise click.UsageError(f"{service!r} is no Service; write NAMESPACE/NAME, such as shop/web")
    body = fetch(path, f"/v1/services?namespace={quote(namespace)}&name={quote(name)}")
    report = decode(body, path)
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.format(body, indent=2) + b"\n")
        sys.stdout.buffer.flush()
    else:
        from pointsman.proxy.cli import table  # noqa: PLC0415 - rich is loaded only to draw

        table.show(report, wide=output == "wide", subject=f"Service {service}" if service else "")
    if service and not report.service_ports:
        click.echo(f"{service} is not routed on this node; what is known about it stands above.", err=True)
        return 1
    return 0


def fetch(path: str, target: str) -> bytes:
    """Return the agent's answer; raises UnreachableError with what to do."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
    except PermissionError:
        raise UnreachableError(f"{path}: not permitted; ask as the user that runs the agent, usually root") from None
    except FileNotFoundError:
        text = f"{path}: no agent is running here; start it with `pointsman run`, or name its socket with --socket"
        raise UnreachableError(text) from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{path}: the agent does not answer ({error}); look at its log, or restart it") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise UnreachableError(f"{path}: the agent answered {response.status} {response.reason}; is it another version?")
    return body


def decode(body: bytes, path: str) -> ServicesReport:
    """Return the document as a value; raises UnreachableError if the agent speaks another schema."""
    try:
        return msgspec.json.decode(body, type=ServicesReport)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"{path}: the agent's answer is not understood ({error}); use the same version of pointsman") from error
