"""`pointsman dns serve`: a Corefile, served by this process's resolvers; no rule is programmed and no root needed on a high port."""

import sys
from ipaddress import ip_address
from pathlib import Path

import click
from pointsman.proxy import logs
from pointsman.proxy.config import Config, split_host_port

EPILOG = """\b
Examples:
  pointsman dns serve --corefile Corefile --manifests DIR --listen 127.0.0.1:5353
  pointsman dns serve --corefile Corefile --kubeconfig ~/.kube/config --listen 127.0.0.1:5353
  pointsman dns serve --corefile /etc/coredns/Corefile           in a Pod, in CoreDNS's place

\b
The cluster is read only if the Corefile has `kubernetes`: from a folder of manifests, else from the API (of --kubeconfig or
--master, of the kubernetes block, or of the Pod that this runs in). Without --listen every server block listens as the Corefile says.
SIGTERM and SIGINT end it, after the lameduck of `health`, or at once if they come twice; SIGQUIT at once. SIGUSR1 has the Corefile read
again now; SIGHUP means nothing.

\b
Exit status:
  0  stopped by a signal
  1  it cannot serve: the reason is on standard error
  2  the command line or the Corefile is wrong
"""


def _place(_ctx: click.Context, _param: click.Parameter, text: str) -> object:
    from pointsman.proxy.dns.sockets import Place  # noqa: PLC0415 - --help need not wait for it

    if not text:
        return None
    try:
        host, port = split_host_port(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return Place(str(ip_address(host)), port, 0)


@click.command("serve", epilog=EPILOG, context_settings={"max_content_width": 140})
@click.option("--corefile", required=True, type=click.Path(dir_okay=False), help="What to serve, in CoreDNS's language.")
@click.option("--manifests", default="", metavar="DIR", help="Folder with manifests, instead of the API; its changes are followed.")
@click.option("--kubeconfig", default="", metavar="FILE", help="How to reach the Kubernetes API. Default: as a pod does.")
@click.option("--master", default="", metavar="URL", help="Address of the Kubernetes API; wins over the one in --kubeconfig.")
@click.option(
    "--listen", default="", metavar="ADDR:PORT", callback=_place,
    help="Serve everything at this place, whatever ports and addresses the Corefile names.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer; one per core at most.")
@click.option(
    "--client-rate", default=0, metavar="NUMBER", type=click.IntRange(0),
    help="Queries per second that one client may ask; more are dropped and counted. Default: no limit.",
)
@click.option("--hostname-override", "node", default="", metavar="NODE", help="Name of this node. Default: the host's name.")
@click.option("--socket", "path", default="", metavar="PATH", help="Unix socket for `pointsman dns query --socket PATH`. Default: none.")
@click.option("-v", "verbosity", default=0, metavar="LEVEL", help="How much is logged: 0 events, 4 each step, 8 libraries too.")
@click.option(
    "--logging-format", default=Config().logging_format, show_default=True, type=click.Choice(["text", "json"]), help="Form of log lines.",
)
def command(  # noqa: PLR0917 - click's options
    corefile: str, manifests: str, kubeconfig: str, master: str, listen: object, workers: int, client_rate: int, node: str, path: str,
    verbosity: int, logging_format: str,
) -> int:
    """Serve DNS as a Corefile says, without the rest of the agent."""
    if manifests and not Path(manifests).is_dir():
        raise click.UsageError(f"--manifests={manifests}: no such folder")
    logs.configure(logging_format, verbosity)
    import uvloop  # noqa: PLC0415 - --help need not wait for it
    from pointsman.dns.corefile.files import read  # noqa: PLC0415 - as above
    from pointsman.kube.errors import ApiConfigError  # noqa: PLC0415 - as above
    from pointsman.proxy import memory  # noqa: PLC0415 - as above
    from pointsman.proxy.dns import alone  # noqa: PLC0415 - as above
    from pointsman.proxy.dns.service import DnsError  # noqa: PLC0415 - as above
    from pointsman.proxy.dns.sockets import ListenError, Place  # noqa: PLC0415 - as above
    from pointsman.proxy.dns.wishes import WishError  # noqa: PLC0415 - as above

    loaded = read(corefile)
    if loaded.corefile is None:
        for finding in loaded.findings:
            click.echo(str(finding), err=True)
        click.echo(f"Nothing is served. `pointsman dns check {corefile}` says the same.", err=True)
        return 2
    assert listen is None or isinstance(listen, Place)
    options = alone.Options(
        corefile=corefile, manifests=manifests, kubeconfig=kubeconfig, master=master, listen=listen, workers=workers, node=node,
        socket=path, client_rate=client_rate,
    )  # fmt: skip
    memory.use_one_arena()
    memory.collect_rarely()
    try:
        return uvloop.run(alone.serve(options))
    except* (DnsError, ListenError, WishError, ApiConfigError) as group:
        for error in group.exceptions:
            print(f"pointsman dns serve: cannot serve: {error}", file=sys.stderr)
    return 1
