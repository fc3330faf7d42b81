"""`pointsman dns check`: everything that is wrong with a Corefile, at once (COR-30), and what it means if nothing is.

It is the reading that `serve` and `run --dns` do before they answer anything. Nothing is bound, asked or written. What only the network
could tell, such as whether an upstream answers, is not checked.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from pointsman.dns import resolvconf
from pointsman.dns.corefile.files import imports, read
from pointsman.dns.corefile.findings import Finding
from pointsman.dns.corefile.load import Loaded, ServerBlock, load
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.corefile.parser import File

EPILOG = """\b
Examples:
  pointsman dns check /etc/coredns/Corefile
  kubectl -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}' | pointsman dns check -

\b
Exit status:
  0  the Corefile can be used; warnings are on standard error
  2  it cannot: standard error says everything that is wrong, with file and line
"""


@click.command("check", epilog=EPILOG)
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print what was found.")
def command(file: str, output: str) -> int:
    """Say everything that is wrong with the Corefile FILE (- is standard input), and in which order its plugins run.

    Imports are relative to FILE and are read, too. Environment variables are taken from here: they may differ where the server runs.
    """
    loaded = read(file) if file != "-" else load(File("stdin", sys.stdin.read()), imports, os.environ)
    findings = [*loaded.findings, *_upstream_findings(loaded)]
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(document(loaded, findings)), indent=2).decode())
    else:
        for finding in findings:
            click.echo(str(finding), err=True)
        click.echo("\n".join(summary(loaded, findings)), err=loaded.corefile is None)
    return 0 if loaded.corefile is not None else 2


def summary(loaded: Loaded, findings: Sequence[Finding]) -> list[str]:
    """Return the closing lines: what is served, or how much is wrong."""
    errors = sum(finding.error for finding in findings)
    if loaded.corefile is None:
        return [f"{errors} error{'s' if errors != 1 else ''}: the Corefile cannot be used"]
    lines = [f"{', '.join(str(key) for key in block.keys)}{_on(block)}: {', '.join(_plugins(block))}" for block in loaded.corefile.blocks]
    warnings = len(findings) - errors
    return [*lines, f"the Corefile can be used ({warnings} warning{'s' if warnings != 1 else ''})", f"SHA512 {loaded.fingerprint}"]


def _on(block: ServerBlock) -> str:
    return f" on {', '.join(block.addresses)}" if block.addresses else ""


def _plugins(block: ServerBlock) -> list[str]:
    """Return the names of a block's directives in the order in which they run."""
    return [option.directive for option in block.options]


def _upstream_findings(loaded: Loaded) -> list[Finding]:
    """Return warnings about resolv.conf files that lead to a resolver of this machine (FWD-03)."""
    found = []
    for option in loaded.corefile.all(ForwardOptions) if loaded.corefile is not None else ():
        for target in option.upstreams:
            if not target.file:
                continue
            try:
                servers = resolvconf.parse(Path(target.file).read_text(errors="replace")).nameservers
            except OSError as error:
                text = f"{target.file} cannot be read here ({error.strerror}): until it can, queries for {option.zone} end as SERVFAIL"
                found.append(Finding(option.place, text, error=False))
                continue
            if not servers:
                text = f"{target.file} names no nameserver: queries for {option.zone} end as SERVFAIL"
                found.append(Finding(option.place, text, error=False))
            if local := [server for server in servers if server.startswith("127.") or server == "::1"]:
                text = f"{target.file} names {', '.join(local)}, a resolver of this machine: a loop if that one asks the cluster's DNS"
                found.append(Finding(option.place, text, error=False))
    return found


def document(loaded: Loaded, findings: Sequence[Finding]) -> dict[str, object]:
    """Return what was found for programs."""
    blocks = loaded.corefile.blocks if loaded.corefile is not None else ()
    return {
        "usable": loaded.corefile is not None,
        "sha512": loaded.fingerprint,
        "findings": [
            {"file": one.place.file, "line": one.place.line, "severity": "error" if one.error else "warning", "text": one.text}
            for one in findings
        ],
        "serverBlocks": [
            {"keys": [str(key) for key in block.keys], "bind": list(block.addresses), "plugins": _plugins(block)} for block in blocks
        ],
    }
