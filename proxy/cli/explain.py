"""`pointsman explain`: why a connection goes where it goes, or nowhere; from the kernel as it is, without sending a packet.

The work is in `pointsman.proxy.explaining`, the words are in `explain_text`.
"""

import asyncio

import click
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.explain.answer import STATUS, UNKNOWN
from pointsman.explain.question import QuestionError
from pointsman.proxy.cli import wanted
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.flags import FlagCommand
from pointsman.routing.route import Family, Protocol

EPILOG = f"""\b
Examples:
  pointsman explain --from pod/shop/web-1 --to db.shop:5432
  pointsman explain --from 198.51.100.7 --to 203.0.113.10:443        a client outside and a load-balancer IP
  pointsman explain --to nodeport/30080 -o json | jq -r .verdict
  pointsman explain --from pod/shop/web-1 --to kube-dns.kube-system:53 --protocol udp
  pointsman explain --manifests DIR --hostname-override n1 --to web.shop:80

{wanted.STATUS}
\b
What is shown: what the name stands for, and whether this node's own DNS says the same, where it runs; the Service port, its policies, and
why endpoints are left out; what should happen, by the number of its rule (docs/services.md); what the kernel holds that decides this
packet, read back and quoted, also other programs' rules; the flows of this pair that connection tracking has; and the verdict. Ask on the
node where the packet is routed: the sender's.

\b
Exit status:
  0  it works
  1  it does not: the verdict says whether something is broken or whether it is meant to be so
  2  unknown: something cannot be judged (the verdict says what), or the command line is wrong
  3  no agent answers, and no other source was named
"""


class AskedWronglyError(click.ClickException):
    """The question cannot be read, or not be answered as it stands."""

    exit_code = 2


class UnreadableError(click.ClickException):
    """The kernel cannot be read: what it does is not known, which is no verdict that it does not work."""

    exit_code = STATUS[UNKNOWN]


class Asking:
    """What the options of this command say; they are taken out of `values`, so that flags remain."""

    def __init__(self, values: dict[str, object]) -> None:
        self.source, self.target = str(values.pop("source")), str(values.pop("target"))
        self.protocol = Protocol(str(values.pop("protocol")).upper())
        family, self.node = values.pop("family"), str(values.pop("node"))
        self.family = Family(family) if family else None


@click.command("explain", cls=FlagCommand, flags=wanted.SOURCE_FLAGS, epilog=EPILOG)
@click.option("--from", "source", default="node", metavar="WHO", help="pod/NAMESPACE/NAME, node, node/NAME or an address.  [default: node]")
@click.option("--to", "target", required=True, metavar="WHAT", help="NAME:PORT, NAMESPACE/SERVICE:PORT, ADDRESS:PORT or nodeport/NUMBER.")
@click.option("--protocol", "--proto", type=click.Choice(["tcp", "udp", "sctp"]), default="tcp", show_default=True, help="Which one.")
@click.option("--family", type=click.Choice([one.value for one in Family]), help="Which addresses, where there are both.")
@click.option("--node", default="", metavar="NODE", help="The node that this must be; anything else is told.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people, or for programs.")
@click.option("--watch", is_flag=True, help="Show real packets of this pair on their way through the rules, until Ctrl-C; injects none.")
@click.pass_context
def command(ctx: click.Context, /, output: str, *, watch: bool, **values: object) -> int:
    """Explain why a connection goes where it goes, or nowhere: from the kernel as it is, without sending a packet."""
    from pointsman.proxy import explaining  # noqa: PLC0415 - loads the modes, which --help need not wait for

    asked = Asking(values)
    known = wanted.known(ctx, values)
    here = known.picture.node.name
    if asked.node and asked.node != here:
        raise AskedWronglyError(f"this is node {here}, not {asked.node}: run the command there, as each kernel decides for itself")
    try:
        if watch:
            from pointsman.proxy.cli import explain_watch  # noqa: PLC0415 - as above

            return explain_watch.follow(known, asked.source, asked.target, asked.protocol, asked.family)
        found = asyncio.run(explaining.explain(known, asked.source, asked.target, asked.protocol, asked.family))
    except QuestionError as error:
        raise AskedWronglyError(str(error)) from error
    except UnreachableError as error:
        raise wanted.WantedError(error.format_message()) from error
    except KernelError as error:
        advice = ", ask as root" if error.kind is ErrorKind.DENIED else ""
        raise UnreadableError(f"unknown: the kernel cannot be read{advice}: {error}") from error
    if output == "json":
        wanted.write(found)
    else:
        from pointsman.proxy.cli import explain_text  # noqa: PLC0415 - only to print

        click.echo(explain_text.text(found), nl=False)
    return STATUS[found.status]
